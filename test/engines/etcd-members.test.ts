/** Three members of etcd, some of which die, freeze or are replaced under load. */
import { expect, test } from "bun:test";
import { type EtcdStore, openEtcd } from "../../src/meta/etcd/index.ts";
import { type CommitResult, StoreUnavailable } from "../../src/meta/port.ts";
import { describeEtcd, startEtcd, type TestEtcd } from "../support/etcd.ts";

const WRITERS = 16;
/** DESIGN §1, promise 5. */
const ELECTION_MS = 10_000;
const ALONE_MS = 2000;

/** Commits from two handles, followed by two watches, and what was told about each. */
class Load {
  readonly #stores: readonly EtcdStore[];
  readonly told = new Map<string, CommitResult>();
  readonly errors: string[] = [];
  staleReads = 0;
  reads = 0;
  slowest = 0;
  #running = true;
  readonly #tasks: Promise<void>[] = [];
  readonly #start: number;
  readonly #seen: Map<string, number>[] = [];
  readonly #repeats: string[] = [];
  readonly #stop = new AbortController();

  constructor(stores: readonly EtcdStore[], start: number) {
    this.#stores = stores;
    this.#start = start;
    for (const store of stores) this.#tasks.push(this.#follow(store));
    for (let id = 0; id < WRITERS; id++) this.#tasks.push(this.#write(id), this.#read(id));
  }

  /** Waits until the watches have shown everything, and compares. */
  async finish(etcd: TestEtcd): Promise<void> {
    this.#running = false;
    await Promise.all(this.#tasks.slice(this.#stores.length));
    const [store] = this.#stores;
    if (store === undefined) throw new Error("no store");
    const end = await store.commit({ put: [{ key: "load!end", value: "1" }] });
    if (!end.ok) throw new Error("a commit that expects nothing conflicted");
    const until = performance.now() + 10_000;
    while (this.#seen.some((seen) => !seen.has("load!end")) && performance.now() < until)
      await Bun.sleep(20);
    this.#stop.abort();
    await Promise.all(this.#tasks);
    expect(this.errors).toEqual([]);
    expect(this.#repeats).toEqual([]);
    const made = new Map<string, number>([["load!end", end.revision]]);
    for (const [key, result] of this.told) {
      if (!result.ok) throw new Error(`${key}: a conflict, though nobody else writes it`);
      made.set(key, result.revision);
    }
    const order = [...made].sort(([, a], [, b]) => a - b);
    for (const seen of this.#seen) expect([...seen]).toEqual(order);
    const { entries } = await store.scan({ prefix: "load!", limit: 1_000_000 });
    expect(entries.map(({ key, version }) => [key, version])).toEqual(
      [...made].sort(([a], [b]) => (a < b ? -1 : 1)),
    );
    expect(etcd.logs()).not.toContain("panic");
  }

  print(what: string): void {
    const { reads, staleReads } = this;
    console.log(
      `${what}: ${this.told.size} commits, slowest ${Math.round(this.slowest)} ms; ${reads} reads, ${staleReads} stale`,
    );
  }

  async #write(id: number): Promise<void> {
    const store = this.#stores[id % this.#stores.length];
    for (let turn = 0; this.#running && store !== undefined; turn++) {
      const key = `load!${id}!${turn}`;
      const began = performance.now();
      try {
        const expect = [{ key, version: 0 }];
        this.told.set(key, await store.commit({ expect, put: [{ key, value: `${turn}` }] }));
      } catch (error) {
        this.errors.push(String(error));
      }
      this.slowest = Math.max(this.slowest, performance.now() - began);
    }
  }

  /** Whatever has been acknowledged before a read is in it, unless it calls itself stale. */
  async #read(id: number): Promise<void> {
    const store = this.#stores[(id + 1) % this.#stores.length];
    while (this.#running && store !== undefined) {
      const [key, last] = [...this.told].findLast(([key]) => key.startsWith(`load!${id}!`)) ?? [];
      try {
        const { entries, stale } = await store.get([key ?? "load!none"]);
        this.reads++;
        if (stale) this.staleReads++;
        else if (last?.ok === true && entries[0]?.version !== last.revision)
          this.errors.push(`${key} was acknowledged and not shown`);
      } catch (error) {
        this.errors.push(`a read failed: ${String(error)}`);
      }
      await Bun.sleep(10);
    }
  }

  async #follow(store: EtcdStore): Promise<void> {
    const seen = new Map<string, number>();
    this.#seen.push(seen);
    const options = { prefix: "load!", after: this.#start, signal: this.#stop.signal };
    for await (const { revision, changes } of store.watch(options))
      for (const { key } of changes) {
        if (seen.has(key)) this.#repeats.push(key);
        seen.set(key, revision);
      }
  }
}

async function start() {
  const etcd = await startEtcd({ members: 3 });
  const stores = await Promise.all([openEtcd(etcd), openEtcd(etcd)]);
  return {
    etcd,
    stores,
    async load() {
      return new Load(stores, (await stores[0].get([])).revision);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(stores.map((store) => store.close()));
      await etcd[Symbol.asyncDispose]();
    },
  };
}

async function timed<T>(work: Promise<T>): Promise<{ result: T | Error; ms: number }> {
  const began = performance.now();
  const result = await work.catch((error: unknown) => error as Error);
  return { result, ms: performance.now() - began };
}

const put = (store: EtcdStore, key: string) => store.commit({ put: [{ key, value: "1" }] });

describeEtcd("etcd, three members", () => {
  test("the leader is killed: writes wait, nothing fails, every outcome is right", async () => {
    await using lab = await start();
    const load = await lab.load();
    for (let round = 0; round < 2; round++) {
      await Bun.sleep(500);
      const leader = await lab.etcd.leader();
      await leader.stop("SIGKILL");
      await Bun.sleep(4000);
      await leader.restart();
      await Bun.sleep(1500);
    }
    await load.finish(lab.etcd);
    console.log(
      "killed:",
      load.told.size,
      "commits, slowest",
      load.slowest,
      load.staleReads,
      load.reads,
    );
    expect(load.slowest).toBeLessThan(ELECTION_MS);
    expect(load.told.size).toBeGreaterThan(200);
  }, 60_000);

  test("the leader is frozen, and comes back when another leads", async () => {
    await using lab = await start();
    const load = await lab.load();
    await Bun.sleep(500);
    const leader = await lab.etcd.leader();
    leader.signal("SIGSTOP");
    await Bun.sleep(6000);
    leader.signal("SIGCONT");
    await Bun.sleep(2000);
    await load.finish(lab.etcd);
    console.log(
      "frozen:",
      load.told.size,
      "commits, slowest",
      load.slowest,
      load.staleReads,
      load.reads,
    );
    expect(load.slowest).toBeLessThan(ELECTION_MS);
    expect(load.told.size).toBeGreaterThan(200);
  }, 60_000);

  test("all members are restarted one after another under load", async () => {
    await using lab = await start();
    const load = await lab.load();
    for (const member of lab.etcd.members) {
      await Bun.sleep(500);
      await member.restart();
      await Bun.sleep(2500);
    }
    await load.finish(lab.etcd);
    console.log(
      "rolling:",
      load.told.size,
      "commits, slowest",
      load.slowest,
      load.staleReads,
      load.reads,
    );
    expect(load.slowest).toBeLessThan(ELECTION_MS);
    expect(load.told.size).toBeGreaterThan(200);
  }, 60_000);

  test("without a majority reads are stale, writes fail within 2 s, and both recover", async () => {
    await using lab = await start();
    const [a] = lab.stores;
    await put(a, "k");
    const [first, second] = lab.etcd.members;
    await first?.stop("SIGKILL");
    second?.signal("SIGSTOP");

    for (let turn = 0; turn < 3; turn++) {
      const read = await timed(a.get(["k"]));
      expect(read.result).toMatchObject({ stale: true, entries: [{ key: "k", value: "1" }] });
      expect(read.ms).toBeLessThan(turn === 0 ? ALONE_MS : 300);
    }
    const scan = await timed(a.scan({ prefix: "k", limit: 10 }));
    expect(scan.result).toMatchObject({ stale: true, entries: [{ key: "k" }] });
    for (const work of [() => put(a, "k"), () => a.commit({}), () => a.commit({ delete: ["k"] })]) {
      const { result, ms } = await timed(work());
      expect(result).toBeInstanceOf(StoreUnavailable);
      expect(ms).toBeLessThan(ALONE_MS);
    }
    // A process that starts now serves what it can.
    const opened = await timed(openEtcd(lab.etcd));
    if (opened.result instanceof Error) throw opened.result;
    expect(await opened.result.get(["k"])).toMatchObject({ stale: true });
    await opened.result.close();

    second?.signal("SIGCONT");
    const recovered = await timed(put(a, "k2"));
    expect(recovered.result).toMatchObject({ ok: true });
    expect(await a.get(["k2"])).toMatchObject({ stale: false, entries: [{ key: "k2" }] });
    await first?.restart();
  }, 60_000);

  test("when nothing is reachable, everything says so within 2 s", async () => {
    await using lab = await start();
    const [a] = lab.stores;
    await put(a, "k");
    for (const how of ["SIGSTOP", "SIGKILL"] as const) {
      for (const member of lab.etcd.members) member.signal(how);
      await Bun.sleep(100);
      // Those that join a read which is on its way wait no longer than others.
      const spread = Array.from({ length: 40 }, async (_, n) => {
        await Bun.sleep(n * 40);
        const { result, ms } = await timed(a.get([`k${n}`]));
        expect(result).toBeInstanceOf(StoreUnavailable);
        expect(ms).toBeLessThan(ALONE_MS);
      });
      await Promise.all(spread);
      for (const work of [
        () => a.get(["k"]),
        () => a.scan({ prefix: "k", limit: 1 }),
        () => put(a, "k"),
        () => openEtcd(lab.etcd),
      ]) {
        const { result, ms } = await timed<unknown>(work());
        expect(result).toBeInstanceOf(StoreUnavailable);
        expect(String(result)).toContain("metadata.etcd.endpoints");
        expect(ms).toBeLessThan(ALONE_MS);
      }
    }
  }, 60_000);
});
