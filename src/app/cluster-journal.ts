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

/** Takes the journal up; or begins a new one, where the one that is there does not lead to the cluster's present state. */
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
    if (!(error instanceof JournalAhead || error instanceof JournalForeign)) throw error;
    await putAside(data, error.message, log);
    const anew = await openNodeObjects(data, metadata, log);
    return { objects: anew, recorder: await startRecorder({ ...options, objects: anew }) };
  }
}

async function putAside(data: string, why: string, log: Logger): Promise<void> {
  const kept = join(data, `journal.before-${Date.now()}`);
  if (!existsSync(join(data, "journal"))) return;
  renameSync(join(data, "journal"), kept);
  await syncDirectory(data);
  log.warn("the node begins a new journal, and keeps the one it had", { kept, why });
}
