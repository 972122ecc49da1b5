/** Fetching one blob's bytes from the stores that hold them. */
import { isDigestOf } from "../../blobs/content.ts";
import type { Logger } from "../../base/log.ts";
import { placeKeyOf, type PlacedStore, type PlacedUpload } from "../../blobs/placed.ts";
import { DigestMismatch, UploadBusy, type StoredBlob } from "../../blobs/port.ts";
import { algorithmOf } from "../../oci/digest.ts";
import type { Others } from "../copies/others.ts";
import { Through } from "../copies/through.ts";
import type { NodeState } from "../node.ts";
import type { Pace } from "./pace.ts";

/** A blob up to so many bytes is taken whole. */
const SMALL = 64 << 10;

export interface FetchOptions {
  readonly store: PlacedStore;
  readonly others: Others;
  readonly pace: Pace;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface FetchTask {
  readonly blob: StoredBlob;
  /** A file of another size is in its place. */
  readonly isReplaced: boolean;
  /** `from` are the nodes that gave what there is. */
  readonly onProgress: (from: readonly string[], doneBytes: number, newBytes: number) => void;
  /** Asked when all bytes are there, before they get their name. */
  readonly isStillWanted: () => Promise<boolean>;
}

/** `absent`: no node that could be reached has it; what came is kept for the next attempt. `rotten`: all gave wrong bytes. */
export type FetchOutcome = "held" | "unwanted" | "absent" | "rotten";

/** Throws what the store or `isStillWanted` throws; `BlobStoreUnavailable` where nodes that cannot be reached may have it. */
export async function fetchCopy(options: FetchOptions, task: FetchTask): Promise<FetchOutcome> {
  const { others, log } = options;
  const { locator } = task.blob;
  let nodes = others.toRead(placeKeyOf(locator));
  let isRotten = false;
  for (;;) {
    const { outcome, sources } = await attempt(options, task, nodes);
    if (outcome !== "rotten") return outcome === "absent" && isRotten ? "rotten" : outcome;
    log.error("wrong bytes came for a blob; they were not kept", { locator, nodes: sources });
    // What an earlier attempt left may have been wrong: once it is tried from the beginning, with the same nodes.
    if (sources.length === 0 && isRotten) return "rotten";
    isRotten = true;
    nodes = nodes.filter(({ name }) => !sources.includes(name));
  }
}

interface Attempt {
  readonly outcome: FetchOutcome;
  readonly sources: readonly string[];
}

function attempt(
  options: FetchOptions,
  task: FetchTask,
  nodes: readonly NodeState[],
): Promise<Attempt> {
  const isSmall = task.blob.size <= SMALL && !task.isReplaced;
  return isSmall ? attemptWhole(options, task, nodes) : attemptParts(options, task, nodes);
}

/** In memory, which spares an upload and its file operations. */
async function attemptWhole(
  options: FetchOptions,
  { blob, onProgress, isStillWanted }: FetchTask,
  nodes: readonly NodeState[],
): Promise<Attempt> {
  const { store, others, log, pace, signal } = options;
  const { locator, size } = blob;
  const digest = store.digestOf(locator);
  const through = new Through(others, log, blob, nodes);
  const body = await through.open();
  if (body === undefined || digest === undefined) return { outcome: "absent", sources: [] };
  const bytes = new Uint8Array(await new Response(body).arrayBuffer());
  const sources = [...through.sources];
  onProgress(sources, size, size);
  await pace.took(size, signal);
  if (!isDigestOf(digest, bytes)) return { outcome: "rotten", sources };
  if (!(await isStillWanted())) return { outcome: "unwanted", sources };
  await store.place(locator, bytes);
  return { outcome: "held", sources };
}

async function attemptParts(
  options: FetchOptions,
  task: FetchTask,
  nodes: readonly NodeState[],
): Promise<Attempt> {
  const { store } = options;
  const { locator, size } = task.blob;
  const upload = await hold(store, task.blob);
  if (upload === undefined) return { outcome: "absent", sources: [] };
  let isHeld = true;
  let sources: readonly string[] = [];
  try {
    if (upload.size < size) sources = await pull(options, task, upload, nodes);
    if (upload.size < size) return { outcome: "absent", sources };
    const isWanted = await task.isStillWanted();
    isHeld = false;
    if (isWanted) await upload.commitAs(locator);
    else await upload.abort();
    return { outcome: isWanted ? "held" : "unwanted", sources };
  } catch (error) {
    if (error instanceof DigestMismatch) return { outcome: "rotten", sources };
    throw error;
  } finally {
    if (isHeld) await upload.suspend();
  }
}

/**
 * An upload named after the blob, so that a later attempt goes on where this one ends; `undefined` while another holds
 * it, or for what is no locator of this store.
 */
async function hold(
  store: PlacedStore,
  { locator, size }: StoredBlob,
): Promise<PlacedUpload | undefined> {
  const digest = store.digestOf(locator);
  if (digest === undefined) return undefined;
  const name = new Bun.CryptoHasher("sha256").update(locator).digest("hex");
  const id = `heal-${name.slice(0, 40)}`;
  try {
    const upload = await store.upload(id, algorithmOf(digest));
    if (upload.size <= size) return upload;
    await upload.abort();
    return await store.upload(id, algorithmOf(digest));
  } catch (error) {
    if (error instanceof UploadBusy) return undefined;
    throw error;
  }
}

/** Appends what nodes give from where the upload ends; resolves to which they were. */
async function pull(
  { others, log, pace, signal }: FetchOptions,
  { blob, onProgress }: FetchTask,
  upload: PlacedUpload,
  nodes: readonly NodeState[],
): Promise<readonly string[]> {
  const range = { start: upload.size, end: blob.size - 1 };
  const through = new Through(others, log, blob, nodes, range);
  const reader = (await through.open())?.getReader();
  if (reader === undefined) return [];
  try {
    while (!signal.aborted) {
      const { done, value } = await reader.read();
      if (done) break;
      const bytes = value.byteLength;
      await upload.write(value);
      onProgress([...through.sources], upload.size, bytes);
      await pace.took(bytes, signal);
    }
  } finally {
    await reader.cancel();
  }
  return [...through.sources];
}
