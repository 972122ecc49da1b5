/** How far the stores are from holding what they should. */
import { keys, lastPart } from "../../meta/keys.ts";
import { requireFresh } from "../../meta/fresh.ts";
import { pages } from "../../meta/pages.ts";
import type { MetaStore } from "../../meta/port.ts";
import type { NodeRecord, NodeState } from "../node.ts";
import { FLICKER_MS, viewOf, type ViewOptions } from "./view.ts";

/** `healing!NODE`, written by the node's parent. Sizes are bytes. */
export interface HealingRecord {
  /** The process that says so, as in the node's record. */
  readonly run?: string;
  /** Of the view under which all blobs were looked through; absent while they are not. */
  readonly basis?: string;
  /** Blobs that its store should hold and does not. */
  readonly missing: number;
  readonly missingBytes: number;
  /** Blobs for which it is the first live store in order and which have too few live copies. */
  readonly endangered: number;
  /** Fetched in the last seconds, per second. */
  readonly bytesPerSecond: number;
  readonly repairs: readonly Repair[];
}

/** A copy on its way. */
export interface Repair {
  /** The blob's digest. */
  readonly digest: string;
  /** The node that gives it. */
  readonly from: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface ClusterHealing {
  /**
   * Blobs with fewer live copies than they should have; `undefined` while some node has not looked through all
   * blobs since the nodes changed, so that nobody relies on a zero that is none.
   */
  readonly underReplicated: number | undefined;
  /** Bytes still to be copied, likewise. */
  readonly missingBytes: number | undefined;
  /** Copied by all nodes together. */
  readonly bytesPerSecond: number;
  /** Milliseconds until all is copied at the present rate; `undefined` where nothing is being copied. */
  readonly timeToZeroMs: number | undefined;
  /** By name; of nodes that have published anything. */
  readonly nodes: ReadonlyMap<string, HealingRecord>;
}

/**
 * The sum over all nodes. A node that died without a word is noticed after ten seconds; one that is back, with its disk
 * or an emptied one, at once. Throws `StoreUnavailable`.
 */
export async function clusterHealing(
  meta: MetaStore,
  options: ViewOptions,
): Promise<ClusterHealing> {
  const records = new Map<string, HealingRecord>();
  for await (const page of pages(meta, keys.healings))
    for (const { key, value } of requireFresh(page).entries)
      records.set(lastPart(key), JSON.parse(value) as HealingRecord);

  // After the reports: those that were made under other circumstances show it.
  const { live, basis } = viewOf({ ...options, nodes: await presentNodes(meta, options) });
  const present = [...live].flatMap(({ name, run }) => {
    const report = records.get(name);
    return report?.basis === basis && report.run === run ? report : [];
  });
  const isKnown = live.size > 0 && present.length === live.size;
  const missingBytes = sum(present, (report) => report.missingBytes);
  // A copy that went bad is missed by its store before the first in order has counted it.
  const underReplicated = Math.max(
    sum(present, ({ endangered }) => endangered),
    ...present.map(({ missing }) => missing),
  );
  return {
    underReplicated: isKnown ? underReplicated : undefined,
    missingBytes: isKnown ? missingBytes : undefined,
    bytesPerSecond: sum(present, (report) => report.bytesPerSecond),
    timeToZeroMs: isKnown ? timeToZero(present, underReplicated) : undefined,
    nodes: records,
  };
}

/** The nodes as they are written down at this moment, which may not have come here yet. */
async function presentNodes(
  meta: MetaStore,
  { nodes, now }: ViewOptions,
): Promise<ViewOptions["nodes"]> {
  const known = new Map(nodes.all().map((node) => [node.name, node]));
  const records: NodeRecord[] = [];
  for await (const page of pages(meta, keys.nodes))
    for (const { value } of requireFresh(page).entries)
      records.push(JSON.parse(value) as NodeRecord);
  const beats = records.map(({ name, run }) => keys.alive(run ?? name));
  const { entries } = requireFresh(await meta.get(beats));
  const at = now?.() ?? performance.now();
  const all = records.map((record, i): NodeState => {
    const state = known.get(record.name);
    const downSince = state?.run === record.run ? state?.downSince : undefined;
    if (entries[i] !== undefined) return { ...record, isLive: downSince === undefined, downSince };
    return { ...record, isLive: false, downSince: Math.min(downSince ?? at, at - FLICKER_MS) };
  });
  return { self: nodes.self, all: () => all };
}

/** The slowest node decides. */
function timeToZero(reports: readonly HealingRecord[], underReplicated: number) {
  if (underReplicated === 0) return 0;
  const times = reports
    .filter(({ missing }) => missing > 0)
    .map(({ missingBytes, bytesPerSecond }) => (missingBytes / bytesPerSecond) * 1000);
  const longest = Math.max(...times);
  return Number.isFinite(longest) ? longest : undefined;
}

function sum(reports: readonly HealingRecord[], of: (report: HealingRecord) => number): number {
  return reports.reduce((total, report) => total + of(report), 0);
}
