/** For tests: a writer process. Arguments: database path, socket path, history size. Prints "ready". */
import { committerOf, openWriter } from "../index.ts";
import { serveCommits } from "../../link/server.ts";

const [path = "", socket = "", historyMax] = process.argv.slice(2);
const writer = openWriter({ path, ...(historyMax ? { historyMax: Number(historyMax) } : {}) });
const server = await serveCommits(committerOf(writer), socket);
process.on("SIGTERM", () => {
  server.close();
  void writer.close().then(() => process.exit(0));
});
process.stdout.write("ready\n");
