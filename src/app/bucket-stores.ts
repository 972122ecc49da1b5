/** Solo on a bucket: bytes and journal are there; SQLite on the local disk is a copy of what the journal says. */
import { rmSync } from "node:fs";
import { systemClock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { fileKeeper } from "../blobs/s3/storj/index.ts";
import type { BucketConfig, Config } from "../config/config.ts";
import { JournalAhead, journaled, startRecorder } from "../journal/index.ts";
import { delegate } from "../meta/delegate.ts";
import type { MetaStore } from "../meta/port.ts";
import { bucketInstallation, joinInstallation } from "../registry/installation.ts";
import { bucketName, openBlobs, openObjects, reachBucket } from "./bucket.ts";
import { BucketOwner } from "./bucket-owner.ts";
import { lastRun, rememberRun } from "./last-run.ts";
import { openMetadata } from "./metadata.ts";
import { foreignInBucket } from "./foreign-place.ts";
import type { NodeOptions, NodeStores } from "./node-stores.ts";
import { progressLog } from "./progress-log.ts";
import { rebuildDisk } from "./rebuild-disk.ts";
import { starting } from "./start-error.ts";

/** Throws `StartError`. */
export function openBucketStores(
  { config, log, run, lost }: NodeOptions,
  bucketConfig: BucketConfig,
): Promise<NodeStores> {
  return starting(async () => {
    await using held = new AsyncDisposableStack();
    const names = { database: "metadata of the data directory", bucket: bucketName(bucketConfig) };
    const bucket = await reachBucket(bucketConfig, fileKeeper(config.data), log);
    const objects = openObjects(bucket);
    const before = lastRun(config);
    const owner = held.use(
      await BucketOwner.claim({ objects, run, before, bucket: names.bucket, log, lost }),
    );
    const isKnown = (await bucketInstallation(objects, names)) !== undefined;
    if (isKnown && !(before !== undefined && owner.continues)) {
      await copyJournal(config, objects, log);
    }
    const open = async () => {
      const writer = await openMetadata(config);
      try {
        const installation = await joinInstallation(writer, objects, systemClock, names);
        const recorder = await startRecorder({
          store: writer,
          objects,
          writer: run,
          installation,
          mode: "before-answer",
          shared: false,
          clock: systemClock,
          log,
        });
        return { writer, recorder };
      } catch (error) {
        await writer.close();
        throw error;
      }
    };
    const { writer, recorder } = await open().catch(async (error: unknown) => {
      // The disk was put back to an earlier state.
      if (!(error instanceof JournalAhead)) throw error;
      await copyJournal(config, objects, log);
      return open();
    });
    held.defer(() => writer.close());
    held.defer(() => recorder.close());
    rememberRun(config, run);
    const meta = owned(journaled(writer, recorder), owner);
    const { blobs, presence } = await openBlobs(held, bucket, { meta, run });
    if (before !== undefined) await presence.buried(before.run);
    const all = held.move();
    return {
      meta,
      revisions: writer,
      blobs,
      objects,
      recorder,
      foreign: foreignInBucket(bucket, names.bucket),
      bucket,
      presence,
      [Symbol.asyncDispose]: () => all.disposeAsync(),
    };
  });
}

/** What was committed counts only if the bucket was still ours when the journal had it. */
function owned(store: MetaStore, owner: BucketOwner): MetaStore {
  return delegate(store, {
    async commit(commit) {
      const result = await store.commit(commit);
      owner.requireOwned();
      return result;
    },
  });
}

/** Replaces whatever the disk says by what the journal says. */
async function copyJournal(config: Config, objects: ObjectStore, log: Logger): Promise<void> {
  log.info("rebuilding the metadata from the journal in the bucket");
  const progress = progressLog(log);
  const { entries, reached, torn, kept } = await rebuildDisk(config, objects, { progress });
  if (kept !== undefined) rmSync(kept, { recursive: true, force: true });
  log.info("the metadata is rebuilt", { entries, upTo: new Date(reached).toISOString(), torn });
}
