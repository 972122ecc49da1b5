/** Solo: metadata, bytes and journal in the data directory. */
import { systemClock } from "../base/clock.ts";
import { openFileObjects } from "../blobs/file/objects.ts";
import { openFileStore } from "../blobs/file/store.ts";
import { journaled, startRecorder } from "../journal/index.ts";
import { readInstallation } from "../registry/schema.ts";
import { foreignInDirectory } from "./foreign-place.ts";
import { openMetadata } from "./metadata.ts";
import type { NodeOptions, NodeStores } from "./node-stores.ts";
import { starting } from "./start-error.ts";

/** Throws `StartError`. */
export function openFileStores({ config, log, run }: NodeOptions): Promise<NodeStores> {
  return starting(async () => {
    const foreign = foreignInDirectory(config.data);
    await using held = new AsyncDisposableStack();
    const writer = held.adopt(await openMetadata(config), (open) => open.close());
    const blobs = held.adopt(await openFileStore({ directory: config.data }), (open) =>
      open.close(),
    );
    const objects = await openFileObjects(config.data);
    const recorder = await startRecorder({
      store: writer,
      objects,
      writer: run,
      installation: await readInstallation(writer),
      mode: "behind",
      shared: false,
      clock: systemClock,
      log,
    });
    held.defer(() => recorder.close());
    const meta = journaled(writer, recorder);
    const all = held.move();
    return {
      meta,
      revisions: writer,
      blobs,
      objects,
      recorder,
      foreign,
      bucket: undefined,
      presence: undefined,
      [Symbol.asyncDispose]: () => all.disposeAsync(),
    };
  });
}
