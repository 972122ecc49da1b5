/** For tests: real stores in a temporary directory, a recorder between them, and traffic. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, type Clock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import { openFileObjects } from "../blobs/file/objects.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import type { Change, MetaStore } from "../meta/port.ts";
import { openWriter } from "../meta/sqlite/index.ts";
import { keys } from "../meta/keys.ts";
import {
  journaled,
  type Recorder,
  type RecorderMode,
  type RecorderOptions,
  restore,
  type Restored,
  type RestoreOptions,
  startRecorder,
  stateHash,
} from "./index.ts";

export const INSTALLATION = "0123456789abcdef";

export const quiet: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  request() {},
};

/** A clock that is later at each look, so that every commit has a time of its own. */
export function countingClock(): Clock & { time: number } {
  return {
    time: 1_000_000,
    now() {
      return ++this.time;
    },
  };
}

export class Bench implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), "holdfast-journal-"));
  readonly #open: { close(): Promise<void> }[] = [];
  #stores = 0;

  get journal(): string {
    return join(this.directory, "journal");
  }

  objects(): Promise<ObjectStore> {
    return openFileObjects(this.journal);
  }

  /** A new, empty SQLite store. */
  store(historyMax = 100_000): MetaStore {
    const path = join(this.directory, `meta-${this.#stores++}`, "holdfast.db");
    const store = openWriter({ path, historyMax });
    this.#open.push(store);
    return store;
  }

  /** The store becomes an installation's, if it is none yet. */
  async recorder(store: MetaStore, options: Partial<RecorderOptions> = {}): Promise<Recorder> {
    await install(store);
    const recorder = await startRecorder({
      store,
      objects: await this.objects(),
      writer: "one",
      installation: INSTALLATION,
      mode: "before-answer",
      shared: false,
      clock: systemClock,
      log: quiet,
      ...options,
    });
    this.#open.push(recorder);
    return recorder;
  }

  /** A store that answers for its commits once the journal has them. */
  async recorded(
    mode: RecorderMode = "before-answer",
    options: Partial<RecorderOptions> = {},
  ): Promise<{ store: MetaStore; plain: MetaStore; recorder: Recorder }> {
    const plain = this.store();
    const recorder = await this.recorder(plain, { mode, ...options });
    return { plain, recorder, store: journaled(plain, recorder) };
  }

  /** The store that the journal makes. */
  async rebuilt(options: Partial<RestoreOptions> = {}): Promise<Restored> {
    const path = join(this.directory, `meta-${this.#stores++}`, "holdfast.db");
    const restored = await restore({
      objects: await this.objects(),
      open: (above) =>
        Promise.resolve(openWriter(above === undefined ? { path } : { path, above })),
      clock: systemClock,
      ...options,
    });
    this.#open.push(restored.store);
    return restored;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#open.reverse()) await one.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Writes the record that every store has which is recorded. */
export async function install(store: MetaStore): Promise<void> {
  const key = keys.installation;
  const value = JSON.stringify({ id: INSTALLATION });
  await store.commit({ expect: [{ key, version: 0 }], put: [{ key, value }] });
}

/** Commits like a registry's: puts, replacements, deletes, and what the journal leaves out. */
export async function traffic(store: MetaStore, lane: string, turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    const result = await store.commit({
      put: [
        { key: `tag!${lane}!latest`, value: JSON.stringify({ turn, at: "ä\u2028" }) },
        { key: `blob!sha256:${lane}-${turn}`, value: JSON.stringify({ size: turn }) },
        { key: `upload!${lane}`, value: `${turn}` },
      ],
      delete: turn > 2 ? [`blob!sha256:${lane}-${turn - 3}`] : [],
    });
    if (!result.ok) throw new Error("a commit without expectations conflicted");
    if (turn % 5 === 0) await store.commit({ put: [{ key: `lease!${lane}`, value: `${turn}` }] });
  }
}

/** The hash of the state that a store had after a revision, from its whole history. */
export async function hashAt(store: MetaStore, revision: number, bench: Bench): Promise<string> {
  const replica = bench.store();
  const stop = new AbortController();
  const apply = async ({ changes }: Change) => {
    await replica.commit({
      put: changes.flatMap(({ key, value }) => (value === undefined ? [] : [{ key, value }])),
      delete: changes.flatMap(({ key, value }) => (value === undefined ? [key] : [])),
    });
  };
  const mark = await store.commit({ put: [{ key: keys.lease("end"), value: "{}" }] });
  const end = mark.ok ? mark.revision : 0;
  for await (const change of store.watch({ prefix: "", after: 0, signal: stop.signal })) {
    if (change.revision > revision || change.revision >= end) break;
    await apply(change);
  }
  stop.abort();
  return stateHash(replica);
}
