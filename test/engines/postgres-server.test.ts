/** A PostgreSQL server that dies, stands still, fails over, fills up or takes no writes, under load. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { type MetaStore, StoreFull, StoreUnavailable } from "../../src/meta/port.ts";
import { Unknown } from "../../src/meta/postgres/errors.ts";
import { openPostgres } from "../../src/meta/postgres/index.ts";
import { checkLoad, startLoad, WHOLE_HISTORY } from "../support/commit-log.ts";
import { describePostgres, startPostgres } from "../support/postgres.ts";
import { until } from "../support/processes.ts";

const unknown = (error: Error) => error instanceof Unknown;
const put = (key: string, value = "1") => ({ put: [{ key, value }] });

/** The error of a call, and the milliseconds it took. */
async function failureOf(call: Promise<unknown>): Promise<{ error: Error; ms: number }> {
  const start = performance.now();
  const error = await call.then(
    () => new Error("it succeeded"),
    (thrown: unknown) => thrown as Error,
  );
  return { error, ms: performance.now() - start };
}

async function works(store: MetaStore): Promise<void> {
  const again = async () => {
    const done = await store.commit(put("works")).catch(() => undefined);
    return done?.ok === true && (await store.get(["works"])).entries[0]?.version === done.revision;
  };
  await until(again, 5000, "the store to work again");
}

describePostgres("a PostgreSQL server", () => {
  test("that is killed and started again has all that was acknowledged, once", async () => {
    await using server = await startPostgres();
    const store = await openPostgres({ ...server.place, ...WHOLE_HISTORY });
    const load = startLoad(store, "k!");
    for (let round = 0; round < 3; round++) {
      await Bun.sleep(200 + Math.random() * 300);
      await server.kill();
      if (round === 2) await Bun.sleep(2500);
      await server.start();
    }
    await works(store);
    await load.stop();
    expect(load.committed).toBeGreaterThan(100);
    expect(load.failed).toBeGreaterThan(0);
    expect(load.slowest).toBeLessThan(4300);
    await checkLoad(store, "k!", 0, load.told, unknown);
    await store.close();
  }, 60_000);

  test("that stands still makes every call fail in time, and works when it goes on", async () => {
    await using server = await startPostgres();
    const store = await openPostgres({ ...server.place, ...WHOLE_HISTORY });
    const stop = new AbortController();
    const { revision } = await store.get([]);
    const watched: number[] = [];
    const watching = (async () => {
      const changes = store.watch({ prefix: "", after: revision, signal: stop.signal });
      for await (const change of changes) watched.push(change.revision);
    })();
    const load = startLoad(store, "k!");
    await Bun.sleep(300);
    server.freeze();
    await Bun.sleep(100);
    const calls = await Promise.all([
      failureOf(store.get(["k"])),
      failureOf(store.scan({ prefix: "k", limit: 1 })),
      failureOf(store.commit(put("while-still"))),
    ]);
    for (const [index, { error, ms }] of calls.entries()) {
      expect(error).toBeInstanceOf(StoreUnavailable);
      expect(ms).toBeLessThan(index === 2 ? 4300 : 2300);
    }
    const fresh = await failureOf(openPostgres(server.place));
    expect(fresh.error.message).toContain(`127.0.0.1:${server.port} does not answer: start it, or`);
    expect(fresh.ms).toBeLessThan(2300);
    server.thaw();
    await works(store);
    await load.stop();
    await checkLoad(store, "k!", revision, load.told, unknown);
    const { revision: last } = await store.get([]);
    await until(() => watched.at(-1) === last, 3000, "the watch to catch up");
    expect(watched).toEqual([...new Set(watched)].sort((x, y) => x - y));
    stop.abort();
    await watching;
    await store.close();
  }, 30_000);

  test("that fails over to a synchronous standby loses nothing; one left behind is not believed", async () => {
    await using primary = await startPostgres({ settings: ["synchronous_standby_names = 's1'"] });
    // Until there is a standby every commit waits for it.
    await using standby = await startPostgres({
      standbyOf: primary,
      name: "s1",
      settings: ["synchronous_standby_names = ''"],
    });
    await until(
      () =>
        primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") === "1",
      10_000,
      "the standby to be synchronous",
    );
    const hosts = [...standby.place.hosts, ...primary.place.hosts];
    const place = { ...primary.place, hosts, ...WHOLE_HISTORY };
    const store = await openPostgres(place);
    const watcher = await openPostgres(place);
    const alone = await failureOf(openPostgres(standby.place));
    expect(alone.error.message).toContain(
      "is a standby: name the primary in metadata.postgres.url",
    );

    const stop = new AbortController();
    const watched: number[] = [];
    const watching = (async () => {
      for await (const change of watcher.watch({ prefix: "k!", after: 0, signal: stop.signal }))
        watched.push(change.revision);
    })();
    const load = startLoad(store, "k!");
    await Bun.sleep(500);
    await primary.kill();
    await standby.promote();
    const promoted = performance.now();
    const before = load.committed;
    await until(() => load.committed > before, 5000, "a commit after the failover");
    expect(performance.now() - promoted).toBeLessThan(3000);
    await Bun.sleep(300);
    await load.stop();
    await checkLoad(watcher, "k!", 0, load.told, unknown);
    const told = [...load.told.values()].filter((answer) => typeof answer === "number");
    await until(() => watched.length > told.length, 3000, "the watch to see the end");
    expect(watched).toEqual([...new Set(watched)].sort((x, y) => x - y));
    expect(watched).toEqual(expect.arrayContaining(told));
    stop.abort();
    await watching;

    // The old primary comes back as if nothing had happened, and the new one is away.
    await Bun.write(join(primary.data, "postgresql.auto.conf"), "synchronous_standby_names = ''\n");
    await primary.start();
    await standby.stop();
    const isNamed = async (): Promise<boolean> =>
      /shows revision \d+, but \d+ has been committed: name the current/.test(
        (await failureOf(store.get(["works"]))).error.message,
      );
    // The other one may be tried first.
    await until(isNamed, 15_000, "the former primary to be found out");
    const refused = await failureOf(store.commit(put("lost")));
    expect(refused.error).toBeInstanceOf(StoreUnavailable);
    expect(primary.sql("SELECT count(*) FROM holdfast.entries WHERE key = 'lost'")).toBe("0");
    await standby.start();
    await works(store);
    expect(standby.sql("SELECT count(*) FROM holdfast.entries WHERE key = 'works'")).toBe("1");
    await Promise.all([store.close(), watcher.close()]);
  }, 60_000);

  test("that stands still while another has taken over costs reads no error", async () => {
    await using primary = await startPostgres();
    await using standby = await startPostgres({ standbyOf: primary });
    const hosts = [...primary.place.hosts, ...standby.place.hosts];
    const store = await openPostgres({ ...primary.place, hosts });
    await store.commit(put("k"));
    const position = primary.sql("SELECT pg_current_wal_lsn()");
    await until(
      () => standby.sql(`SELECT pg_last_wal_replay_lsn() >= '${position}'`) === "t",
      5000,
      "the standby to follow",
    );
    primary.freeze();
    await standby.promote();
    expect((await store.get(["k"])).entries[0]?.version).toBe(1);
    expect((await store.commit(put("l"))).ok).toBe(true);
    expect(standby.sql("SELECT count(*) FROM holdfast.entries WHERE key = 'l'")).toBe("1");
    primary.thaw();
    await store.close();
  }, 30_000);

  test("that has committed what its standby lacks does not get it acknowledged", async () => {
    await using server = await startPostgres();
    const store = await openPostgres(server.place);
    await store.commit(put("k"));
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 's1'");
    server.sql("SELECT pg_reload_conf()");
    await Bun.sleep(200);
    const waiting = failureOf(store.commit(put("alone")));
    await Bun.sleep(500);
    // It ends the wait for the standby: the commit stays, on this server only.
    server.sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    );
    await until(
      () => server.sql("SELECT count(*) FROM holdfast.entries WHERE key = 'alone'") === "1",
      1000,
      "the commit to show",
    );
    expect((await waiting).error).toBeInstanceOf(Unknown);
    server.sql("ALTER SYSTEM RESET synchronous_standby_names");
    server.sql("SELECT pg_reload_conf()");
    await works(store);
    await store.close();
  }, 20_000);

  test("that is away costs no memory", async () => {
    await using server = await startPostgres();
    const store = await openPostgres(server.place);
    await store.commit(put("k"));
    await server.stop();
    const round = async () => {
      const calls = Array.from({ length: 4000 }, (_, index) =>
        index % 2 === 0 ? store.get([`k${index}`]) : store.commit(put(`k${index}`)),
      );
      const settled = await Promise.allSettled(calls);
      expect(settled.every((one) => one.status === "rejected")).toBe(true);
      Bun.gc(true);
      return process.memoryUsage().heapUsed;
    };
    await round();
    const first = await round();
    await round();
    const last = await round();
    expect(last - first).toBeLessThan(4 * 2 ** 20);
    await server.start();
    await works(store);
    await store.close();
  }, 40_000);

  test("that takes no writes shows what it has, and says so", async () => {
    await using server = await startPostgres();
    const store = await openPostgres(server.place);
    await store.commit(put("k"));
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    server.sql("SELECT pg_reload_conf()");
    await Bun.sleep(300);
    const { error, ms } = await failureOf(store.commit(put("k", "2")));
    expect(error).toBeInstanceOf(StoreUnavailable);
    expect(error.message).toContain("takes no writes: switch default_transaction_read_only off");
    expect(ms).toBeLessThan(1000);
    expect((await store.get(["k"])).entries[0]?.value).toBe("1");
    server.sql("ALTER SYSTEM RESET default_transaction_read_only");
    server.sql("SELECT pg_reload_conf()");
    await works(store);
    await store.close();
  }, 20_000);

  test("that cuts statements short commits none of them", async () => {
    await using server = await startPostgres();
    server.sql("ALTER ROLE postgres SET statement_timeout = '300ms'");
    const store = await openPostgres(server.place);
    await store.commit(put("k"));
    const holding = Bun.spawn(
      [
        "psql",
        "-Xq",
        "-d",
        server.url,
        "-c",
        "SET statement_timeout = 0; BEGIN; SELECT revision FROM holdfast.state FOR UPDATE; SELECT pg_sleep(3); COMMIT",
      ],
      { stdout: "ignore" },
    );
    const sleepers = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    await until(async () => server.sql(sleepers) === "1", 10_000, "the row to be held");
    const { error, ms } = await failureOf(store.commit(put("k", "2")));
    expect(error).toBeInstanceOf(StoreUnavailable);
    expect(error.message).toContain('raise statement_timeout for "postgres"');
    expect(ms).toBeLessThan(1000);
    expect((await store.get(["k"])).entries[0]?.value).toBe("1");
    await holding.exited;
    await works(store);
    await store.close();
  }, 20_000);

  test("refuses one commit of a group: the others are made", async () => {
    await using server = await startPostgres();
    const store = await openPostgres(server.place);
    const settled = await Promise.allSettled([
      store.commit(put("a")),
      store.commit(put("nul", "\0")),
      store.commit(put("b")),
    ]);
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    const { entries } = await store.get(["a", "nul", "b"]);
    expect(entries.map((entry) => entry?.version)).toEqual([1, undefined, 2]);
    await store.close();
  });

  const mountable = process.getuid?.() === 0 && spawnSync("unshare", ["-m", "true"]).status === 0;
  test.skipIf(!mountable)(
    "with a full disk refuses commits whole, and room heals it",
    async () => {
      const small = mkdtempSync(join(tmpdir(), "holdfast-full-"));
      expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=8m", "none", small]).status).toBe(0);
      try {
        spawnSync("chown", ["postgres:", small]);
        chmodSync(small, 0o700);
        await using server = await startPostgres();
        const store = await openPostgres(server.place);
        server.sql(`CREATE TABLESPACE small LOCATION '${small}'`);
        server.sql("ALTER TABLE holdfast.entries SET TABLESPACE small");
        await store.commit(put("before"));
        const ballast = join(small, "ballast");
        await Bun.write(ballast, new Uint8Array(4 * 2 ** 20));
        const large = () =>
          JSON.stringify(crypto.getRandomValues(new Uint8Array(40_000)).toBase64());
        let error: Error | undefined;
        let turn = 0;
        for (; error === undefined && turn < 500; turn++)
          await store
            .commit({ put: [...put(`a${turn}`, large()).put, ...put(`b${turn}`, large()).put] })
            .catch((thrown: unknown) => (error = thrown as Error));
        expect(error).toBeInstanceOf(StoreFull);
        expect(error?.message).toContain("make room there");
        const { entries } = await store.get([`a${turn - 1}`, `b${turn - 1}`, "before"]);
        expect(entries.map((entry) => entry?.key)).toEqual([undefined, undefined, "before"]);
        rmSync(ballast);
        await works(store);
        await store.close();
      } finally {
        spawnSync("umount", ["-l", small]);
        rmSync(small, { recursive: true, force: true });
      }
    },
    30_000,
  );
});
