/** For tests: a client process that does over IPC what the test's `RemoteStore` asks. Arguments: database path, socket path. */
import { RevisionCompacted } from "../../port.ts";
import { connectClient } from "../index.ts";
import type { Answer, Asked } from "./remote-store.ts";

const [path = "", socket = ""] = process.argv.slice(2);
const store = await connectClient({ path, socket, onLost: () => process.exit(3) });
const watches = new Map<number, AbortController>();

process.on("message", (asked: Asked) => {
  answer(asked).catch((error: unknown) => {
    send({ id: asked.id, error: String(error), compacted: error instanceof RevisionCompacted });
  });
});
send({ id: 0, value: store.operationsMax });

async function answer(asked: Asked): Promise<void> {
  const { id } = asked;
  if (asked.method === "get") send({ id, value: await store.get(asked.argument) });
  else if (asked.method === "scan") send({ id, value: await store.scan(asked.argument) });
  else if (asked.method === "commit") send({ id, value: await store.commit(asked.argument) });
  else if (asked.method === "unwatch") watches.get(asked.argument)?.abort();
  else if (asked.method === "close") {
    await store.close();
    send({ id, value: undefined });
    process.exit(0);
  } else {
    const stop = new AbortController();
    watches.set(id, stop);
    for await (const value of store.watch({ ...asked.argument, signal: stop.signal }))
      send({ id, value });
    send({ id, value: undefined });
  }
}

function send(answer: Answer): void {
  process.send?.(answer);
}
