/** Shared: metadata in a database, bytes and journal in a bucket, any number of nodes. */
import { systemClock } from "../base/clock.ts";
import { metaKeeper } from "../blobs/s3/storj/index.ts";
import type { Stores } from "../config/config.ts";
import { journaled, startRecorder } from "../journal/index.ts";
import { waitUntilFresh } from "../meta/fresh.ts";
import { joinInstallation } from "../registry/installation.ts";
import { bucketName, openBlobs, openObjects, reachBucket } from "./bucket.ts";
import { databaseName, openDatabase } from "./database.ts";
import { foreignInBucket } from "./foreign-place.ts";
import type { NodeOptions, NodeStores } from "./node-stores.ts";
import { starting } from "./start-error.ts";

/** Throws `StartError`. */
export function openSharedStores(
  { log, run }: NodeOptions,
  stores: Extract<Stores, { readonly kind: "shared" }>,
): Promise<NodeStores> {
  return starting(async () => {
    await using held = new AsyncDisposableStack();
    const { store: engine, forget } = await openDatabase(stores.database);
    held.defer(() => engine.close());
    await waitUntilFresh(engine);
    const names = {
      database: databaseName(stores.database),
      bucket: bucketName(stores.bucket),
    };
    const bucket = await reachBucket(stores.bucket, metaKeeper(engine), log);
    const objects = openObjects(bucket);
    const installation = await joinInstallation(engine, objects, systemClock, names);
    const recorder = await startRecorder({
      store: engine,
      objects,
      writer: run,
      installation,
      mode: "before-answer",
      shared: true,
      clock: systemClock,
      log,
    });
    held.defer(() => recorder.close());
    const meta = journaled(engine, recorder);
    const { blobs, presence } = await openBlobs(held, bucket, { meta, run });
    const all = held.move();
    return {
      meta,
      revisions: undefined,
      blobs,
      objects,
      recorder,
      foreign: foreignInBucket(bucket, names.bucket),
      bucket,
      presence,
      ...(forget === undefined ? {} : { forget }),
      [Symbol.asyncDispose]: () => all.disposeAsync(),
    };
  });
}
