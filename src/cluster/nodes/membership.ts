/** What is done to the list of nodes: by each to itself, and by the operator to any. */
import { OperatorError } from "../../base/operator-error.ts";
import { keys } from "../../meta/keys.ts";
import { requireFresh } from "../../meta/fresh.ts";
import { ABSENT, StoreUnavailable, type Commit, type MetaStore } from "../../meta/port.ts";
import type { Presence } from "../../meta/presence.ts";
import type { NodeRecord, Space } from "../node.ts";
import { fillsUp, isNearlyFull } from "../placement.ts";

/** The list of nodes stays as it is. The message says why, and what to do. */
export class NodeRefused extends OperatorError {
  override readonly name = "NodeRefused";
}

type Alive = Pick<Presence, "isAlive">;

/** A process that was killed is seen to be dead in less. */
const RIVAL_MS = 13_000;
const LOOK_MS = 500;
const ATTEMPTS_MAX = 20;
/** A share of all bytes by which space must change to be worth a write. */
const SPACE_STEP = 0.01;

/**
 * Writes down all nodes of a cluster that has just been formed, so that copies are counted on those that have not
 * started yet. Does nothing once any node is written down. Throws `StoreUnavailable`.
 */
export async function foundNodes(
  meta: MetaStore,
  nodes: readonly Pick<NodeRecord, "name" | "address">[],
): Promise<void> {
  const { entries } = requireFresh(
    await meta.scan({ prefix: keys.nodes, limit: 1, keysOnly: true }),
  );
  if (entries.length > 0 || nodes.length === 0) return;
  const records = nodes.map(({ name, address }) => ({
    key: keys.node(name),
    value: JSON.stringify({ name, address }),
  }));
  // Where others do the same at once, one of them succeeds.
  await meta.commit({
    expect: records.map(({ key }) => ({ key, version: ABSENT })),
    put: records,
  });
}

/**
 * Writes this node down; to be called at each start, after its presence began. An emptied disk, which is another store,
 * takes the place of the one before. Throws `NodeRefused` where another process is this node, after the time in which
 * one that was killed would have been seen to be dead; `StoreUnavailable`.
 */
export async function registerNode(
  meta: MetaStore,
  presence: Alive,
  record: NodeRecord,
  options: { readonly patienceMs?: number } = {},
): Promise<void> {
  const deadline = performance.now() + (options.patienceMs ?? RIVAL_MS);
  for (;;) {
    const rival = await change(meta, record.name, async (before) => {
      if (before !== undefined && (await isRival(presence, before, record)))
        return { result: before };
      const isSameStore = before?.store === undefined || before.store === record.store;
      const { draining, space } = isSameStore ? (before ?? {}) : {};
      const kept = { ...(draining && { draining }), ...(space && { space }) };
      return { record: { ...record, ...kept }, result: undefined };
    });
    if (rival === undefined) return;
    if (performance.now() > deadline)
      throw new NodeRefused(
        `duplicate name: a node "${record.name}" with another data directory is running at ${rival.address}; ` +
          `give this one another name in cluster.node, or stop that one`,
      );
    await Bun.sleep(Math.min(LOOK_MS, options.patienceMs ?? LOOK_MS));
  }
}

/** A disk that was copied has the same store at another address. */
async function isRival(presence: Alive, before: NodeRecord, record: NodeRecord): Promise<boolean> {
  if (before.run === undefined || before.run === record.run) return false;
  if (before.store === record.store && before.address === record.address) return false;
  return presence.isAlive(before.run);
}

/** It takes no new copies from now on, and the others take over those it has. Throws `NodeRefused`. */
export async function drainNode(meta: MetaStore, name: string): Promise<void> {
  await change(meta, name, async (before) => ({
    record: { ...known(before, name), draining: true },
    result: undefined,
  }));
}

/** Throws `NodeRefused`. */
export async function undrainNode(meta: MetaStore, name: string): Promise<void> {
  await change(meta, name, async (before) => {
    const { draining: _, ...rest } = known(before, name);
    return { record: rest, result: undefined };
  });
}

export interface RemoveOptions {
  /** Whether the others hold all that the node held: the drain has come to its end. */
  readonly isDrained: boolean;
  /** Whatever it costs. */
  readonly force: boolean;
}

/** Forgets a node. Throws `NodeRefused` while it lives and still has what others need. */
export async function removeNode(
  meta: MetaStore,
  presence: Alive,
  name: string,
  { isDrained, force }: RemoveOptions,
): Promise<void> {
  await change(meta, name, async (before) => {
    const { run, draining } = known(before, name);
    const isDone = draining === true && isDrained;
    if (!force && !isDone && run !== undefined && (await presence.isAlive(run)))
      throw new NodeRefused(
        draining === true
          ? `node ${name} is live and is still being drained: wait until no blob is under-replicated, or force it, ` +
              `which costs the copies that only it has`
          : `node ${name} is live and holds copies: drain it first, or stop it, or force it`,
      );
    return { record: undefined, result: undefined, also: [keys.healing(name)] };
  });
}

/** Notes a node's space, if that says something new. Throws `StoreUnavailable`. */
export async function noteSpace(
  meta: MetaStore,
  name: string,
  { free, total }: Space,
): Promise<void> {
  await change(meta, name, async (before) => {
    if (before === undefined) return { result: undefined };
    const nearlyFull = fillsUp({ free, total }, isNearlyFull(before));
    const space = { free, total, nearlyFull };
    if (isAbout(before.space, space)) return { result: undefined };
    return { record: { ...before, space }, result: undefined };
  });
}

function isAbout(before: Space | undefined, { free, total, nearlyFull }: Space): boolean {
  if (before === undefined || before.nearlyFull !== nearlyFull) return false;
  const step = SPACE_STEP * total;
  return Math.abs(free - before.free) <= step && Math.abs(total - before.total) <= step;
}

interface Plan<T> {
  /** What the record becomes, `undefined` if it goes; left out, all stays. */
  readonly record?: NodeRecord | undefined;
  /** Keys that go with it. */
  readonly also?: readonly string[];
  readonly result: T;
}

/** Runs `plan` against the present record until its commit meets no other. */
async function change<T>(
  meta: MetaStore,
  name: string,
  plan: (before: NodeRecord | undefined) => Promise<Plan<T>>,
): Promise<T> {
  const key = keys.node(name);
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const [entry] = requireFresh(await meta.get([key])).entries;
    const before = entry && (JSON.parse(entry.value) as NodeRecord);
    const planned = await plan(before);
    if (!("record" in planned)) return planned.result;
    const { record, also = [], result } = planned;
    const outcome = await meta.commit(commitOf(key, entry?.version ?? ABSENT, record, also));
    if (outcome.ok) return result;
    await Bun.sleep(Math.random() * attempt);
  }
  throw new StoreUnavailable(`the record of node ${name} is being changed by too many at once`);
}

function commitOf(
  key: string,
  version: number,
  record: NodeRecord | undefined,
  also: readonly string[],
): Commit {
  const expect = [{ key, version }];
  if (record === undefined) return { expect, delete: [key, ...also] };
  return { expect, put: [{ key, value: JSON.stringify(record) }] };
}

function known(before: NodeRecord | undefined, name: string): NodeRecord {
  if (before === undefined) throw new NodeRefused(`there is no node ${JSON.stringify(name)}`);
  return before;
}
