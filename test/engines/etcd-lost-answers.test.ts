/** Connections to etcd that are cut in the middle of a commit: the outcome is found out, never assumed. */
import { expect, test } from "bun:test";
import { openEtcd } from "../../src/meta/etcd/index.ts";
import { type CommitResult, type MetaStore, StoreUnavailable } from "../../src/meta/port.ts";
import { describeEtcd, startEtcd } from "../support/etcd.ts";
import { type Fate, startProxy } from "../support/etcd-proxy.ts";

const isCommit = (request: string) =>
  request.startsWith("POST /v3/kv/txn") && request.includes("request_put");

const create = (store: MetaStore, key: string, value: string): Promise<CommitResult> =>
  store.commit({ expect: [{ key, version: 0 }], put: [{ key, value }] });

async function start() {
  const etcd = await startEtcd();
  const [member] = etcd.endpoints;
  if (member === undefined) throw new Error("no member");
  const proxy = startProxy(member);
  const direct = await openEtcd({ endpoints: [member] });
  const store = await openEtcd({ endpoints: [proxy.endpoint] });
  return {
    etcd,
    proxy,
    direct,
    store,
    async [Symbol.asyncDispose]() {
      await Promise.all([store.close(), direct.close()]);
      proxy[Symbol.dispose]();
      await etcd[Symbol.asyncDispose]();
    },
  };
}

/** A fate for the first commit that passes, and `pass` for what follows. */
function once(fate: Fate): (request: string) => Fate {
  let used = false;
  return (request) => {
    if (used || !isCommit(request)) return "pass";
    used = true;
    return fate;
  };
}

describeEtcd("etcd, answers lost", () => {
  test("an answer that is lost does not make a commit a conflict, nor happen twice", async () => {
    await using lab = await start();
    for (const [index, fate] of (["refuse", "swallow", "hold", "freeze"] as const).entries()) {
      lab.proxy.fate = once(fate);
      const from = (await lab.direct.get([])).revision;
      const result = await create(lab.store, `k${index}`, "1");
      if (!result.ok) throw new Error(`${fate}: a conflict with itself`);
      for (const answer of await lab.proxy.release()) expect(answer).not.toContain("succeeded");
      const { entries } = await lab.direct.get([`k${index}`]);
      expect(entries[0]).toEqual({ key: `k${index}`, value: "1", version: result.revision });
      const seen: number[] = [];
      const stop = AbortSignal.timeout(400);
      for await (const { revision } of lab.direct.watch({ prefix: "k", after: from, signal: stop }))
        seen.push(revision);
      expect(seen).toEqual([result.revision]);
    }
  });

  test("after a conflict was answered, an earlier attempt cannot happen any more", async () => {
    await using lab = await start();
    await create(lab.direct, "k", "theirs");
    lab.proxy.fate = once("hold");
    expect(await create(lab.store, "k", "ours")).toEqual({ ok: false, keys: ["k"] });
    // What was expected holds now, and the held request arrives.
    await lab.direct.commit({ delete: ["k"] });
    const answers = await lab.proxy.release();
    expect(answers.length).toBe(1);
    expect(answers[0]).not.toContain("succeeded");
    expect((await lab.direct.get(["k"])).entries).toEqual([undefined]);
    // The same, and the answer of what made it void gets lost too.
    await create(lab.direct, "k", "theirs");
    let commits = 0;
    lab.proxy.fate = (request) =>
      isCommit(request) ? ((["hold", "pass", "swallow"] as const)[commits++] ?? "pass") : "pass";
    expect(await create(lab.store, "k", "ours")).toEqual({ ok: false, keys: ["k"] });
    expect(commits).toBeGreaterThan(3);
    await lab.direct.commit({ delete: ["k"] });
    expect((await lab.proxy.release()).join()).not.toContain("succeeded");
    expect((await lab.direct.get(["k"])).entries).toEqual([undefined]);
  });

  test("a commit without room for its guard says that its outcome is unknown", async () => {
    await using lab = await start();
    const put = Array.from({ length: 128 }, (_, n) => ({ key: `full!${n}`, value: "1" }));
    lab.proxy.fate = () => "pass";
    expect((await lab.store.commit({ put })).ok).toBe(true);
    lab.proxy.fate = once("swallow");
    const error = await lab.store.commit({ put }).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(StoreUnavailable);
    expect(String(error)).toContain("unknown");
    lab.proxy.fate = once("refuse");
    const refused = await lab.store.commit({ put }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(StoreUnavailable);
  });

  test("every outcome is right under a network that loses a third of everything", async () => {
    await using lab = await start();
    const fates: readonly Fate[] = ["refuse", "swallow", "hold", "pass", "pass", "pass", "pass"];
    lab.proxy.fate = (request) =>
      isCommit(request) ? (fates[Math.floor(Math.random() * fates.length)] ?? "pass") : "pass";
    const from = (await lab.direct.get([])).revision;
    const told = new Map<string, CommitResult | "unknown">();
    const client = async (id: number) => {
      for (let turn = 0; turn < 25; turn++) {
        const key = `c!${id}!${turn}`;
        // A third of them loses to somebody else, who takes the key away again.
        if (turn % 3 === 0) await create(lab.direct, key, "theirs");
        const result = await create(lab.store, key, "ours").catch((error: unknown) => {
          if (!(error instanceof StoreUnavailable)) throw error;
          return "unknown" as const;
        });
        told.set(key, result);
        if (turn % 3 === 0) await lab.direct.commit({ delete: [key] });
        await lab.proxy.release();
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, id) => client(id)));
    await lab.proxy.release();
    const happened = new Map<string, number[]>();
    const { revision: to } = await create(lab.direct, "c!end", "end").then((r) => {
      if (!r.ok) throw new Error("the end was there");
      return r;
    });
    const stop = new AbortController();
    for await (const { changes, revision } of lab.direct.watch({
      prefix: "c!",
      after: from,
      signal: stop.signal,
    })) {
      for (const { key, value } of changes)
        if (value === "ours") happened.set(key, [...(happened.get(key) ?? []), revision]);
      if (revision === to) break;
    }
    expect(told.size).toBe(200);
    expect([...told.values()].filter((result) => result === "unknown").length).toBe(0);
    for (const [key, result] of told) {
      if (result === "unknown") continue;
      const turn = Number(key.slice(key.lastIndexOf("!") + 1));
      expect([key, result.ok]).toEqual([key, turn % 3 !== 0]);
      expect(happened.get(key) ?? []).toEqual(result.ok ? [result.revision] : []);
    }
  });

  test("a watch whose stream dies without a word, or is cut, misses and repeats nothing", async () => {
    await using lab = await start();
    const from = (await lab.direct.get([])).revision;
    const seen: string[] = [];
    const stop = new AbortController();
    const following = (async () => {
      for await (const { changes } of lab.store.watch({
        prefix: "w!",
        after: from,
        signal: stop.signal,
      }))
        for (const { key } of changes) seen.push(key);
    })();
    const made: string[] = [];
    const write = async () => {
      made.push(`w!${made.length}`);
      await create(lab.direct, made.at(-1) ?? "", "1");
    };
    const shown = async (ms: number) => {
      const until = performance.now() + ms;
      while (seen.length < made.length && performance.now() < until) await Bun.sleep(10);
      expect(seen).toEqual(made);
    };
    await write();
    await shown(1000);
    for (let turn = 0; turn < 5; turn++) {
      lab.proxy.cut();
      for (let n = 0; n < 20; n++) await write();
      await shown(2000);
    }
    lab.proxy.freezeAll();
    await write();
    await shown(6000);
    // An idle stream is not taken for a dead one: heartbeats go through it.
    let opened = 0;
    lab.proxy.fate = (request) => {
      if (request.startsWith("POST /v3/watch")) opened++;
      return "pass";
    };
    await Bun.sleep(6000);
    expect(opened).toBe(0);
    // What is old in etcd is not old for an idle watch.
    await lab.direct.commit({ put: [{ key: "other", value: "1" }] });
    await Bun.sleep(2800);
    await lab.direct.compact((await lab.direct.get(["other"])).entries[0]?.version ?? 0);
    lab.proxy.cut();
    await write();
    await shown(2000);
    stop.abort();
    await following;
  }, 60_000);
});
