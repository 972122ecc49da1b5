/** A backup of the metadata, made by the server that runs. */
import { systemClock } from "../base/clock.ts";
import { openBackup } from "../journal/index.ts";
import { readInstallation } from "../registry/schema.ts";
import type { NodeStores } from "./node-stores.ts";
import { StartError, starting } from "./start-error.ts";

/** Header of the answer: bytes of the whole file. */
export const BACKUP_BYTES = "holdfast-bytes";

/** The answer to `POST /backup`: the file, or the sentence that says why there is none. */
export async function backupAnswer(
  { meta, objects, recorder }: Pick<NodeStores, "meta" | "objects" | "recorder">,
  signal: AbortSignal,
): Promise<Response> {
  try {
    const { bytes, chunks } = await starting(async () =>
      openBackup({
        store: meta,
        objects,
        installation: await readInstallation(meta),
        recorder,
        clock: systemClock,
        signal,
      }),
    );
    return new Response(streamed(chunks), { headers: { [BACKUP_BYTES]: String(bytes) } });
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    return Response.json({ error: error.message }, { status: 503 });
  }
}

/** A failure cuts the answer short, which whoever reads it notices: it says how long it is. */
function streamed(chunks: AsyncIterable<Uint8Array<ArrayBuffer>>): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const next = await iterator.next();
      if (next.done === true) controller.close();
      else controller.enqueue(next.value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}
