/** How etcd is set up and looked after: users, certificates, compaction, quotas, a store built anew. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { openEtcd } from "../../src/meta/etcd/index.ts";
import { failureOf } from "../../src/blobs/conformance-tools.ts";
import { RevisionCompacted, StoreFull, StoreUnavailable } from "../../src/meta/port.ts";
import { describeEtcd, startEtcd } from "../support/etcd.ts";
import { startProxy } from "../support/etcd-proxy.ts";
import { until } from "../support/processes.ts";

const put = (key: string, value = "1") => ({ put: [{ key, value }] });

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.catch((error: unknown) => error);
  expect(error).toBeInstanceOf(StoreUnavailable);
  return error instanceof Error ? error.message : "";
}

describeEtcd("etcd, set up", () => {
  test("users: rights on the prefix are enough, and each mistake is named", async () => {
    await using etcd = await startEtcd({ members: 3, flags: ["--auth-token-ttl=3"] });
    const { endpoints } = etcd;
    const user = { username: "holdfast", password: "s3cret" };
    expect(await refusal(openEtcd({ endpoints, ...user }))).toContain("etcdctl auth enable");

    etcd.ctl("user", "add", "root:toor");
    etcd.ctl("user", "grant-role", "root", "root");
    etcd.ctl("role", "add", "holdfast");
    etcd.ctl("role", "grant-permission", "holdfast", "--prefix=true", "readwrite", "holdfast/");
    etcd.ctl("user", "add", "holdfast:s3cret");
    etcd.ctl("user", "grant-role", "holdfast", "holdfast");
    etcd.ctl("user", "add", "other:s3cret");
    etcd.ctl("auth", "enable");

    expect(await refusal(openEtcd({ endpoints }))).toContain("set metadata.etcd.username");
    expect(await refusal(openEtcd({ endpoints, ...user, password: "x" }))).toContain(
      "check metadata.etcd.username and metadata.etcd.password",
    );
    expect(await refusal(openEtcd({ endpoints, ...user, username: "other" }))).toContain(
      "grant its role readwrite",
    );
    expect(await refusal(openEtcd({ endpoints, ...user, prefix: "elsewhere/" }))).toContain(
      "metadata.etcd.prefix",
    );

    const store = await openEtcd({ endpoints, ...user });
    const { revision } = await store.get([]);
    const stop = new AbortController();
    const seen: string[] = [];
    const following = (async () => {
      for await (const { changes } of store.watch({
        prefix: "k",
        after: revision,
        signal: stop.signal,
      }))
        seen.push(...changes.map(({ key }) => key));
    })();
    // Longer than a token lives, and over restarts, after which members know no tokens.
    for (let turn = 0; turn < 3; turn++) {
      expect((await store.commit(put(`k${turn}`))).ok).toBe(true);
      await etcd.members[turn]?.restart();
      await Bun.sleep(4500);
      expect((await store.get([`k${turn}`])).entries[0]?.value).toBe("1");
    }
    expect((await store.commit(put("k3"))).ok).toBe(true);
    for (let wait = 0; wait < 500 && seen.length < 4; wait++) await Bun.sleep(10);
    expect(seen).toEqual(["k0", "k1", "k2", "k3"]);
    stop.abort();
    await following;
    await store.close();
  }, 60_000);

  test("TLS with client certificates, and each mistake is named", async () => {
    const home = mkdtempSync(join(tmpdir(), "holdfast-etcd-tls-"));
    try {
      const files = certificates(home);
      await using etcd = await startEtcd({ tls: files });
      const { endpoints } = etcd;
      const [ca, cert, key] = [files.ca, files.cert, files.key].map((path) =>
        readFileSync(path, "utf8"),
      );
      if (ca === undefined || cert === undefined || key === undefined) throw new Error("no PEM");
      const store = await openEtcd({ endpoints, tls: { ca, cert, key } });
      const { revision } = await store.get([]);
      const made = await Promise.all(
        Array.from({ length: 50 }, (_, n) => store.commit(put(`k${n}`))),
      );
      const stop = new AbortController();
      let count = 0;
      for await (const _ of store.watch({ prefix: "", after: revision, signal: stop.signal }))
        if (++count === made.length) break;
      expect(made.every(({ ok }) => ok)).toBe(true);
      await store.close();

      expect(await refusal(openEtcd({ endpoints, tls: { cert, key } }))).toContain(
        "metadata.etcd.tls.ca",
      );
      expect(await refusal(openEtcd({ endpoints, tls: { ca } }))).toContain(
        "metadata.etcd.tls.cert",
      );
      const plain = endpoints.map((url) => url.replace("https:", "http:"));
      expect(await refusal(openEtcd({ endpoints: plain }))).toContain("metadata.etcd.endpoints");
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  }, 60_000);

  test("watches that are aborted, and iterations that are left, free their connections", async () => {
    await using etcd = await startEtcd();
    const store = await openEtcd(etcd);
    const { revision: after } = await store.get([]);
    for (let round = 0; round < 10; round++) {
      const stop = new AbortController();
      const watches = Array.from({ length: 40 }, async () => {
        let count = 0;
        for await (const _ of store.watch({ prefix: "", after, signal: stop.signal })) count++;
        return count;
      });
      await store.commit(put("k", `${round}`));
      await Bun.sleep(200);
      stop.abort();
      const began = performance.now();
      expect(await Promise.all(watches)).toEqual(Array.from({ length: 40 }, () => round + 1));
      expect(performance.now() - began).toBeLessThan(200);
    }
    // 400 streams are more than Bun keeps open at once.
    expect((await store.get(["k"])).entries[0]?.value).toBe("9");
    await store.close();
  }, 60_000);

  test("a watch hears what begins with its prefix; heartbeats are nobody's records", async () => {
    await using etcd = await startEtcd();
    const store = await openEtcd(etcd);
    const { revision: after } = await store.get([]);
    const heard: Record<string, string[]> = { "": [], "b!": [] };
    const stop = new AbortController();
    const watches = Object.entries(heard).map(async ([prefix, keys]) => {
      for await (const { changes } of store.watch({ prefix, after, signal: stop.signal }))
        keys.push(...changes.map(({ key }) => key));
    });
    const made = ["a!1", "b!1", "b!2", "c!1"];
    for (const key of made) await store.commit(put(key));
    const beats = () => etcd.ctl("get", "--prefix", "--keys-only", "holdfast/data/").match(/ÿ/g);
    while ((beats()?.length ?? 0) < 2) await Bun.sleep(100);
    await store.commit(put("b!3"));
    while (heard["b!"]?.at(-1) !== "b!3" || heard[""]?.at(-1) !== "b!3") await Bun.sleep(10);
    stop.abort();
    await Promise.all(watches);
    expect(heard).toEqual({ "": [...made, "b!3"], "b!": ["b!1", "b!2", "b!3"] });

    const keysOf = async (prefix: string, reverse: boolean, limit: number) =>
      (await store.scan({ prefix, reverse, limit })).entries.map(({ key }) => key);
    expect(await keysOf("", false, 10)).toEqual(["a!1", "b!1", "b!2", "b!3", "c!1"]);
    expect(await keysOf("", true, 1)).toEqual(["c!1"]);
    expect(await keysOf("b!", false, 3)).toEqual(["b!1", "b!2", "b!3"]);
    expect(await keysOf("b!", true, 1)).toEqual(["b!3"]);
    await store.close();
  }, 60_000);

  test("commits whose events come in several pieces are shown whole", async () => {
    await using etcd = await startEtcd();
    const store = await openEtcd(etcd);
    const { revision: after } = await store.get([]);
    const made: unknown[] = [];
    for (let n = 0; n < 12; n++) {
      const value = `${n % 10}`.repeat(300_000);
      const changes = ["a", "b", "c"].map((key) => ({ key: key + n, value }));
      const result = await store.commit({ put: changes });
      made.push({ revision: result.ok ? result.revision : 0, changes });
    }
    const seen: unknown[] = [];
    const stop = new AbortController();
    for await (const change of store.watch({ prefix: "", after, signal: stop.signal })) {
      seen.push(change);
      if (seen.length === made.length) break;
    }
    expect(seen).toEqual(made);
    await store.close();
  }, 60_000);

  test("a full quota is StoreFull: reads go on, and commits after the remedy", async () => {
    await using etcd = await startEtcd({ flags: [`--quota-backend-bytes=${8 * 1024 * 1024}`] });
    const store = await openEtcd(etcd);
    let error: unknown;
    let last = 0;
    for (let n = 0; n < 100 && error === undefined; n++)
      await store.commit(put("big", "x".repeat(500_000))).then(
        (result) => (last = result.ok ? result.revision : last),
        (caught: unknown) => (error = caught),
      );
    expect(error).toBeInstanceOf(StoreFull);
    expect(String(error)).toContain("etcdctl alarm disarm");
    expect((await store.get(["big"])).entries[0]?.version).toBe(last);
    await store.compact(last);
    etcd.ctl("defrag");
    etcd.ctl("alarm", "disarm");
    expect((await store.commit(put("k"))).ok).toBe(true);
    await store.close();
  }, 60_000);

  test("what etcd does not take is said, and is not repeated for ever", async () => {
    await using etcd = await startEtcd({ flags: ["--max-txn-ops=16"] });
    const store = await openEtcd(etcd);
    const huge = await store.commit(put("k", "x".repeat(2_000_000))).catch((e: unknown) => e);
    expect(huge).toBeInstanceOf(RangeError);
    const many = Array.from({ length: 20 }, (_, n) => ({ key: `k${n}`, value: "1" }));
    const error = await store.commit({ put: many }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RangeError);
    expect(String(error)).toContain("--max-txn-ops");
    const twice = store.commit({ put: [{ key: "k", value: "1" }], delete: ["k"] });
    expect(await twice.catch((e: unknown) => e)).toBeInstanceOf(RangeError);
    expect((await store.commit(put("k"))).ok).toBe(true);
    await store.close();
  }, 60_000);

  test("a commit after the lease of its guard was taken away", async () => {
    await using etcd = await startEtcd();
    const store = await openEtcd(etcd);
    for (let turn = 0; turn < 3; turn++) {
      expect((await store.commit(put("k", `${turn}`))).ok).toBe(true);
      const leases = etcd.ctl("lease", "list").split("\n").slice(1);
      expect(leases.length).toBe(1);
      etcd.ctl("lease", "revoke", leases[0] ?? "");
    }
    expect((await store.commit(put("k", "last"))).ok).toBe(true);
    await store.close();
    // What `close` leaves behind are the store's record and the record of the test.
    const left = etcd.ctl("get", "--prefix", "--keys-only", "").split("\n");
    expect(left.filter((line) => line !== "")).toEqual(["holdfast/data/k", "holdfast/store"]);
  }, 60_000);

  test("a store that is deleted and made anew is nothing to a watch that was cut", async () => {
    await using etcd = await startEtcd();
    using proxy = startProxy(etcd.endpoints[0] ?? "");
    const old = await openEtcd({ endpoints: [proxy.endpoint] });
    await old.commit(put("old"));
    const signal = AbortSignal.timeout(20_000);
    const seen: string[] = [];
    const follow = async (): Promise<void> => {
      for await (const { changes } of old.watch({ prefix: "", after: 0, signal }))
        seen.push(...changes.map(({ key }) => key));
    };
    const failure = failureOf(follow());
    await until(() => seen.length === 1, 5000, "the watch to begin");
    proxy.fate = () => "refuse";
    proxy.cut();
    etcd.ctl("del", "--prefix", "holdfast/");
    const fresh = await openEtcd(etcd);
    await fresh.commit(put("fresh"));
    proxy.fate = () => "pass";
    expect(String(await failure)).toContain("is another one than when this program started");
    expect(seen).toEqual(["old"]);
    await Promise.all([old.close(), fresh.close()]);
  }, 60_000);

  test("a store built anew begins above every revision of the old one", async () => {
    await using etcd = await startEtcd();
    const { endpoints } = etcd;
    const many = await Promise.all(Array.from({ length: 8 }, () => openEtcd({ endpoints })));
    const made = await Promise.all(many.map((store, n) => store.commit(put(`k${n}`))));
    const revisions = made.map((result) => (result.ok ? result.revision : 0));
    expect(new Set(revisions).size).toBe(8);
    const [first] = many;
    if (first === undefined) throw new Error("no store");
    const above = Math.max(...revisions) + 12_345;
    expect(await refusal(openEtcd({ endpoints, above }))).toContain("not empty");

    const anew = await openEtcd({ endpoints, above, prefix: "anew/" });
    const { revision } = await anew.get([]);
    expect(revision).toBeGreaterThan(above);
    const result = await anew.commit(put("k"));
    expect(result.ok && result.revision > revision).toBe(true);
    // Nothing happened between `above` and the beginning of the store; what was before is not its history.
    const stop = new AbortController();
    for await (const change of anew.watch({ prefix: "", after: above, signal: stop.signal })) {
      expect(change).toEqual({
        revision: result.ok ? result.revision : 0,
        changes: [{ key: "k", value: "1" }],
      });
      break;
    }
    const older = anew.watch({ prefix: "", after: above - 1, signal: stop.signal });
    const next = older[Symbol.asyncIterator]().next();
    expect(await next.catch((e: unknown) => e)).toBeInstanceOf(RevisionCompacted);

    // The store is taken away under a running program.
    etcd.ctl("del", "--prefix", "holdfast/");
    const again = await openEtcd({ endpoints, above });
    expect((await again.get(["k0"])).entries).toEqual([undefined]);
    expect(await refusal(first.get(["k0"]))).toContain("restart");
    expect(await refusal(first.commit(put("k0")))).toContain("restart");
    expect((await again.get(["k0"])).entries).toEqual([undefined]);
    await Promise.all([...many, anew, again].map((store) => store.close()));
  }, 60_000);
});

/** An authority, and a certificate of it for 127.0.0.1 that serves both ends. */
function certificates(home: string): { ca: string; cert: string; key: string } {
  const at = (name: string) => join(home, name);
  const openssl = (...args: readonly string[]) => {
    const done = Bun.spawnSync(["openssl", ...args], { stderr: "pipe" });
    if (done.exitCode !== 0) throw new Error(done.stderr.toString());
  };
  const [ca, caKey, cert, key] = [at("ca.pem"), at("ca.key"), at("cert.pem"), at("key.pem")];
  const fresh = ["req", "-newkey", "rsa:2048", "-nodes", "-x509", "-days", "2"];
  openssl(...fresh, "-subj", "/CN=authority", "-keyout", caKey, "-out", ca);
  const signed = [...fresh, "-CA", ca, "-CAkey", caKey, "-addext", "subjectAltName=IP:127.0.0.1"];
  openssl(
    ...signed,
    "-addext",
    "basicConstraints=CA:FALSE",
    "-subj",
    "/CN=etcd",
    "-keyout",
    key,
    "-out",
    cert,
  );
  return { ca, cert, key };
}
