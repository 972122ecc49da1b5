/** The nodes of the cluster as one process sees them. */
import { Beat } from "../../base/beat.ts";
import { keys, lastPart } from "../../meta/keys.ts";
import { pages } from "../../meta/pages.ts";
import { StoreUnavailable, type MetaStore, type Revision } from "../../meta/port.ts";
import type { Presence } from "../../meta/presence.ts";
import type { NodeRecord, Nodes, NodeState } from "../node.ts";
import { follow } from "./follow.ts";

const LOOK_MS = 1000;
/** So long a node that failed a request is not asked first. */
const FAILED_MS = 1000;

export interface NodesOptions {
  readonly meta: MetaStore;
  readonly presence: Pick<Presence, "isAlive">;
  /** Name of the node that this process belongs to: it lives as long as the process does. */
  readonly self: string;
  /** Monotonic milliseconds; default `performance.now`. */
  readonly now?: () => number;
}

/** Resolves when the nodes are known and were looked at once. Throws `StoreUnavailable`. */
export async function openNodes(options: NodesOptions): Promise<Nodes & AsyncDisposable> {
  const nodes = new LiveNodes(options);
  await nodes.open();
  return nodes;
}

interface Sighting {
  readonly record: NodeRecord;
  /** As written: the same text is the same record. */
  readonly text: string;
  /** Since when its process does not beat; `undefined` while it does. */
  silentSince: number | undefined;
}

class LiveNodes implements Nodes, AsyncDisposable {
  readonly self: string;
  readonly #options: NodesOptions;
  readonly #now: () => number;
  readonly #ending = new AbortController();
  readonly #listeners = new Set<() => void>();
  readonly #failures = new Map<string, number>();
  readonly #sightings = new Map<string, Sighting>();
  /** Nobody can say who beats. */
  #isBlind = false;
  #looking: Beat | undefined;
  #following: Promise<void> | undefined;

  constructor(options: NodesOptions) {
    this.self = options.self;
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  async open(): Promise<void> {
    const { meta } = this.#options;
    const after = await this.#readAll();
    await this.#look();
    this.#looking = new Beat(LOOK_MS, () => this.#look());
    this.#following = follow({
      meta,
      prefix: keys.nodes,
      after,
      signal: this.#ending.signal,
      anew: () => this.#readAll(),
      take: ({ changes }) => {
        const told = changes.filter(({ key, value }) => this.#put(lastPart(key), value));
        if (told.length > 0) this.#tell();
      },
    });
  }

  all(): readonly NodeState[] {
    const now = this.#now();
    return [...this.#sightings.values()]
      .map((sighting) => this.#state(sighting, now))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  failed(name: string): void {
    if (name !== this.self) this.#failures.set(name, this.#now());
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    this.#listeners.clear();
    await this.#looking?.stop(LOOK_MS);
    await this.#following;
  }

  #state({ record, silentSince }: Sighting, now: number): NodeState {
    const failedAt = this.#failures.get(record.name);
    const failing = failedAt !== undefined && now - failedAt < FAILED_MS ? failedAt : undefined;
    const downSince = this.#isBlind ? failing : (silentSince ?? failing);
    return { ...record, isLive: downSince === undefined, downSince };
  }

  async #readAll(): Promise<Revision> {
    const found = new Map<string, string>();
    let revision: Revision | undefined;
    for await (const page of pages(this.#options.meta, keys.nodes)) {
      // What a later page shows beyond the first is told once more by the watch.
      revision ??= page.revision;
      for (const { key, value } of page.entries) found.set(lastPart(key), value);
    }
    let changed = false;
    for (const name of this.#sightings.keys())
      if (!found.has(name)) changed = this.#put(name, undefined) || changed;
    for (const [name, value] of found) changed = this.#put(name, value) || changed;
    if (changed) this.#tell();
    return revision ?? 0;
  }

  /** Resolves to whether this says anything new. */
  #put(name: string, text: string | undefined): boolean {
    const before = this.#sightings.get(name);
    if (before?.text === text) return false;
    if (text === undefined) {
      this.#failures.delete(name);
      return this.#sightings.delete(name);
    }
    const record = JSON.parse(text) as NodeRecord;
    const isSame = before?.record.run === record.run;
    // Whoever has just written itself down lives, until the next look says otherwise.
    const silentSince = isSame ? before?.silentSince : undefined;
    this.#sightings.set(name, { record, text, silentSince });
    if (!isSame) this.#failures.delete(name);
    return true;
  }

  async #look(): Promise<void> {
    const sightings = [...this.#sightings.values()];
    try {
      const beating = await Promise.all(sightings.map(({ record }) => this.#beats(record)));
      this.#isBlind = false;
      let changed = false;
      for (const [i, sighting] of sightings.entries()) {
        const wasSilent = sighting.silentSince !== undefined;
        if (beating[i] === !wasSilent) continue;
        sighting.silentSince = wasSilent ? undefined : this.#now();
        changed = true;
      }
      if (changed) this.#tell();
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      this.#isBlind = true;
    }
  }

  async #beats({ name, run }: NodeRecord): Promise<boolean> {
    if (name === this.self) return true;
    return run !== undefined && (await this.#options.presence.isAlive(run));
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
