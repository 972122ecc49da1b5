/**
 * The journal of a node tells the history of one cluster. One that was recovered from a node that knew less gives the
 * same revisions to other commits, so what a node has written of the cluster before is kept beside, not gone on with.
 */
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "../base/log.ts";
import { syncDirectory } from "../base/fsync.ts";
import { openFileObjects } from "../blobs/file/objects.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import {
  JournalAhead,
  JournalForeign,
  type Recorder,
  type RecorderOptions,
  startRecorder,
} from "../journal/index.ts";
import { EXTERNAL } from "./cluster-founding.ts";
import { StartError } from "./start-error.ts";

const OF = "journal/cluster";

/** The objects of a data directory, whose journal is of the cluster with this id, or of none yet. */
export async function openNodeObjects(
  data: string,
  metadata: string,
  log: Logger,
): Promise<ObjectStore> {
  const objects = await openFileObjects(data);
  const found = await objects.get(OF);
  const of = found && new TextDecoder().decode(found).trim();
  if (of === metadata) return objects;
  if (of !== undefined)
    await putAside(data, `it is of cluster ${of}, and this is ${metadata}`, log);
  return claimNodeObjects(data, metadata);
}

/** Whether this is the journal of the cluster with this id. */
export async function isJournalOf(objects: ObjectStore, metadata: string): Promise<boolean> {
  const found = await objects.get(OF);
  return found !== undefined && new TextDecoder().decode(found).trim() === metadata;
}

/** The same, whatever cluster its journal was of: what comes has greater revisions than all that it knows. */
export async function claimNodeObjects(data: string, metadata: string): Promise<ObjectStore> {
  const objects = await openFileObjects(data);
  await objects.put(OF, new TextEncoder().encode(`${metadata}\n`));
  return objects;
}

/**
 * Takes the journal up. One that does not lead to the present state of the very cluster that it is of tells that these
 * are not the metadata that the node is meant to have. Throws `StartError`, and as `startRecorder`.
 */
export async function startNodeRecorder(
  data: string,
  metadata: string,
  options: Omit<RecorderOptions, "objects">,
): Promise<{ readonly objects: ObjectStore; readonly recorder: Recorder }> {
  const { log } = options;
  const objects = await openNodeObjects(data, metadata, log);
  try {
    return { objects, recorder: await startRecorder({ ...options, objects }) };
  } catch (error) {
    if (error instanceof JournalForeign)
      throw new StartError(
        `${error.message}; or move ${data}/journal away, in the place of which a new one is begun`,
        { cause: error },
      );
    if (!(error instanceof JournalAhead)) throw error;
    const check = metadata === EXTERNAL ? "correct cluster.etcd.endpoints or its prefix; " : "";
    throw new StartError(
      `${data}/journal knows later commits than etcd, which is another one, or was emptied or put back: ${check}to put ` +
        `a backup back run \`holdfast restore\`, or to go on with what etcd has move that journal away`,
      { cause: error },
    );
  }
}

async function putAside(data: string, why: string, log: Logger): Promise<void> {
  const kept = join(data, `journal.before-${Date.now()}`);
  if (!existsSync(join(data, "journal"))) return;
  renameSync(join(data, "journal"), kept);
  await syncDirectory(data);
  log.warn("the node begins a new journal, and keeps the one it had", { kept, why });
}
