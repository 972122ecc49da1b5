/**
 * `bun proxy.ts PORT ENDPOINT`: passes S3 requests on and counts them, in a process of its own. GET requests to
 * PORT + 2 answer with the counts by operation since the one before, as JSON.
 */
import { S3Quirks } from "../../test/support/s3-quirks.ts";

const [port = "", endpoint = ""] = process.argv.slice(2);

// It is asked for none of what would need the keys.
const target = { endpoint, accessKeyId: "", secretAccessKey: "" };
const proxy = await S3Quirks.start({ target, port: Number(port) });

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(port) + 2,
  fetch: () => {
    const counts = proxy.counts();
    proxy.clear();
    return Response.json(counts);
  },
});
