/** A new cluster that begins with the records of a backup. */
import { unlessAborted } from "../base/abort.ts";
import { systemClock } from "../base/clock.ts";
import { waited } from "../base/waited.ts";
import { openFileStore } from "../blobs/file/store.ts";
import type { BlobStore, StoredBlob } from "../blobs/port.ts";
import { PeerUnavailable, type Peers } from "../cluster/peer/index.ts";
import type { ClusterConfig } from "../config/config.ts";
import { type Archive, restore } from "../journal/index.ts";
import { findLost } from "../registry/lost.ts";
import { unpackBlobs } from "../registry/unpack.ts";
import { enterCluster } from "./cluster-entry.ts";
import { refuseForeign } from "./cluster-from-solo.ts";
import type { Bring } from "./cluster-founding.ts";
import { claimNodeObjects } from "./cluster-journal.ts";
import { isPacked, keepPacks, takeKeptPacks } from "./kept-packs.ts";
import type { RestoreBackupOptions, RestoredBackup } from "./restored-backup.ts";
import { StartError } from "./start-error.ts";

/** The others begin to serve as soon as the records are there. */
const SILENT_MS = 60_000;
const AGAIN_MS = 500;
const ASK_MS = 10_000;

/** Of the others, where this process is the cluster as long as it runs. */
const STOPPED = "the other nodes do not run";

interface Other {
  readonly name: string;
  readonly address: string;
}

/**
 * This process is the node until it ends. The caller holds the data directory's lock. Throws `StartError`, and what the
 * stores throw.
 */
export async function restoreCluster(
  options: RestoreBackupOptions,
  cluster: ClusterConfig,
  { label, objects }: Archive,
): Promise<RestoredBackup> {
  await using held = new AsyncDisposableStack();
  const { config, log, progress, signal } = options;
  const { data } = config;
  refuseForeign(data);
  const local = held.adopt(await openFileStore({ directory: data }), (open) => open.close());
  let entries = 0;
  const bring: Bring = async (store, state, { open, metadata }) => {
    if (state === "ready") throw new StartError(inUse(cluster));
    await store.close();
    await takeKeptPacks(data);
    let filled = store;
    const restored = await restore({
      objects,
      journal: await claimNodeObjects(data, metadata),
      open: async (above) => (filled = await open(above)),
      clock: systemClock,
      // Of a registry that was alone, on the disk that it was on.
      complete: (restoring) => unpackBlobs(restoring, local, { isPacked, signal }),
      progress,
      signal,
    });
    entries = restored.entries;
    // From here on the others serve it: nothing that may fail belongs here.
    return filled;
  };
  const ending = new AbortController();
  const lost = (reason: string): void => ending.abort(new StartError(reason));
  const ended = AbortSignal.any([signal, ending.signal]);
  const entered = await enterCluster(held, { data, cluster, bring, log, lost, signal: ended });
  const { engine, link, membership } = entered;
  const restored = { entries, at: label.at, kept: undefined };
  const others = membership.nodes.filter(({ name }) => name !== cluster.node);
  try {
    await keepPacks(data, engine, log);
    if (cluster.etcd.kind === "etcd") return { ...restored, unasked: STOPPED, silent: [] };
    const [asked, silent] = await reached(link.peers, others, ended);
    const sizesOf = (blobs: readonly StoredBlob[]) => sizesIn(local, link.peers, asked, blobs);
    return { ...restored, lost: await findLost(engine, sizesOf, ended), silent };
  } catch (error) {
    // The records are there, and the others serve them.
    const reason = error instanceof Error ? error.message : String(error);
    const unasked = signal.aborted ? "it was interrupted" : reason;
    return { ...restored, unasked, silent: [] };
  }
}

function inUse({ etcd }: Pick<ClusterConfig, "etcd">): string {
  const anew =
    etcd.kind === "etcd"
      ? `remove all that begins with ${etcd.prefix} from etcd`
      : "move etcd and cluster.json out of the data directory of each";
  return `the cluster is in use: a backup is put back into a new one only; to begin anew, stop all nodes and ${anew}`;
}

/** Those who answer for their blobs, which takes a moment, and the names of the others. */
async function reached(
  peers: Peers,
  others: readonly Other[],
  signal: AbortSignal,
): Promise<[asked: readonly Other[], silent: readonly string[]]> {
  const deadline = performance.now() + SILENT_MS;
  const answers = await Promise.all(
    others.map(async (other) => {
      while (performance.now() < deadline) {
        signal.throwIfAborted();
        if ((await unlessAborted(ask(peers, other, []), signal)) !== undefined) return true;
        await waited(AGAIN_MS, signal);
      }
      return false;
    }),
  );
  const silent = others.filter((_, i) => !answers[i]).map(({ name }) => name);
  return [others.filter((_, i) => answers[i]), silent];
}

async function sizesIn(
  local: BlobStore,
  peers: Peers,
  others: readonly Other[],
  blobs: readonly StoredBlob[],
): Promise<readonly (number | undefined)[]> {
  const sizes = await Promise.all(blobs.map(({ locator }) => local.stat(locator)));
  for (const other of others) {
    const left = blobs.map((_, i) => i).filter((i) => sizes[i] !== blobs[i]?.size);
    if (left.length === 0) break;
    const answer = await ask(
      peers,
      other,
      left.flatMap((i) => blobs[i] ?? []),
    );
    if (answer === undefined)
      throw new StartError(`${other.name} does not say any more which blobs it has: see its log`);
    for (const [at, i] of left.entries()) sizes[i] = answer[at] ?? sizes[i];
  }
  return sizes;
}

async function ask(
  peers: Peers,
  { address }: Other,
  blobs: readonly StoredBlob[],
): Promise<readonly (number | null)[] | undefined> {
  try {
    const answer = await peers.fetch(address, "/v1/blobs/has", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(blobs.map(({ locator }) => locator)),
      timeoutMs: ASK_MS,
    });
    const text = await answer.text();
    return answer.status === 200 ? (JSON.parse(text) as readonly (number | null)[]) : undefined;
  } catch (error) {
    if (error instanceof PeerUnavailable) return undefined;
    throw error;
  }
}
