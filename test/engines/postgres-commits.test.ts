/** What a PostgreSQL server does to commits now and then, and what is kept of them. */
import { expect, test } from "bun:test";
import { type MetaStore, RevisionCompacted, StoreUnavailable } from "../../src/meta/port.ts";
import { openPostgres } from "../../src/meta/postgres/index.ts";
import { describePostgres, startPostgres } from "../support/postgres.ts";
import { until } from "../support/processes.ts";

const put = (key: string) => ({ put: [{ key, value: "1" }] });

async function commitMany(store: MetaStore, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => store.commit(put("many"))));
}

async function firstAfter(store: MetaStore, after: number): Promise<unknown> {
  try {
    const changes = store.watch({ prefix: "", after, signal: AbortSignal.timeout(2000) });
    for await (const { revision } of changes) return revision;
    return undefined;
  } catch (error) {
    return error;
  }
}

describePostgres("commits", () => {
  test.each(["40001", "40P01"])(
    "that the server undoes (%s) are repeated, within bounds",
    async (state) => {
      await using server = await startPostgres();
      const store = await openPostgres(server.place);
      await store.commit(put("before"));
      server.sql("CREATE SEQUENCE tries");
      server.sql(`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF new.key = 'never' OR nextval('tries') < 4 THEN
          RAISE EXCEPTION 'not now' USING ERRCODE = '${state}';
        END IF;
        RETURN new;
      END $$;
      CREATE TRIGGER refuse BEFORE INSERT ON holdfast.entries FOR EACH ROW EXECUTE FUNCTION refuse();`);
      expect(await store.commit(put("k"))).toEqual({ ok: true, revision: 2 });
      expect(server.sql("SELECT last_value FROM tries")).toBe("4");
      const refused = await store.commit(put("never")).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(StoreUnavailable);
      expect((refused as Error).message).toContain("not now");
      expect((await store.get(["never", "k"])).entries.map((entry) => entry?.version)).toEqual([
        undefined,
        2,
      ]);
      await store.close();
    },
  );

  test("keep keys of any ASCII characters apart", async () => {
    await using server = await startPostgres();
    const store = await openPostgres(server.place);
    const odd = [
      '"',
      "\\",
      '\\"',
      "{a,b}",
      "NULL",
      "null",
      " ",
      "a b",
      "'",
      "$1",
      "%",
      "_",
      ",",
      "\t",
      "\n",
    ];
    for (const key of odd)
      await store.commit({
        expect: [{ key, version: 0 }],
        put: [{ key, value: JSON.stringify(key) }],
      });
    const { entries } = await store.get(odd);
    expect(entries.map((entry) => entry?.key)).toEqual(odd);
    expect(entries.map((entry) => entry?.value)).toEqual(odd.map((key) => JSON.stringify(key)));
    const scanned = await store.scan({ prefix: "", limit: 100 });
    expect(scanned.entries.map(({ key }) => key)).toEqual([...odd].sort());
    await store.commit({ delete: odd });
    expect((await store.scan({ prefix: "", limit: 100 })).entries).toEqual([]);
    await store.close();
  });

  test("are grouped: many that wait are few transactions", async () => {
    await using server = await startPostgres();
    const store = await openPostgres(server.place);
    await commitMany(store, 1000);
    expect((await store.get([])).revision).toBe(1000);
    expect(Number(server.sql("SELECT count(*) FROM holdfast.outcomes"))).toBeLessThan(50);
    await store.close();
  });

  test("are durable although the user has synchronous_commit switched off", async () => {
    await using server = await startPostgres();
    server.sql("ALTER ROLE postgres SET synchronous_commit = off");
    const store = await openPostgres(server.place);
    for (let turn = 0; turn < 5; turn++) {
      expect((await store.commit(put(`k${turn}`))).ok).toBe(true);
      await server.kill();
      await server.start();
      expect((await store.get([`k${turn}`])).entries[0]?.value).toBe("1");
    }
    await store.close();
  }, 30_000);

  test("come from a process that has slept through very many of others", async () => {
    await using server = await startPostgres();
    const [store, other] = await Promise.all([
      openPostgres({ ...server.place, historyMax: 10 }),
      openPostgres(server.place),
    ]);
    await store.commit(put("k"));
    server.sql("UPDATE holdfast.state SET revision = 300000, compacted = 290000");
    expect(await other.commit(put("k"))).toEqual({ ok: true, revision: 300_001 });
    expect(await store.commit(put("k"))).toEqual({ ok: true, revision: 300_002 });
    expect(server.sql("SELECT count(*) FROM holdfast.outcomes WHERE revision < 100000")).toBe("0");
    await Promise.all([store.close(), other.close()]);
  });
});

describePostgres("the history", () => {
  test("is followed closely, also after the connection that listens was lost", async () => {
    await using server = await startPostgres();
    const [store, other] = await Promise.all([
      openPostgres(server.place),
      openPostgres(server.place),
    ]);
    const stop = new AbortController();
    const seen = new Map<number, number>();
    const watching = (async () => {
      for await (const { revision } of other.watch({ prefix: "", after: 0, signal: stop.signal }))
        seen.set(revision, performance.now());
    })();
    const delays = async () => {
      const times: number[] = [];
      for (let turn = 0; turn < 10; turn++) {
        const done = await store.commit(put("k"));
        const start = performance.now();
        const revision = done.ok ? done.revision : 0;
        await until(() => seen.has(revision), 3000, "the watch");
        times.push((seen.get(revision) ?? Infinity) - start);
        await Bun.sleep(20);
      }
      return times.sort((x, y) => x - y);
    };
    await delays();
    expect((await delays())[5]).toBeLessThan(100);
    for (let round = 0; round < 3; round++) {
      server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'",
      );
      await Bun.sleep(100);
    }
    await delays();
    expect((await delays())[5]).toBeLessThan(100);
    stop.abort();
    await watching;
    await Promise.all([store.close(), other.close()]);
  }, 20_000);

  test("is trimmed to what is to be kept, and never past what was released", async () => {
    await using server = await startPostgres();
    const store = await openPostgres({ ...server.place, historyMax: 100 });
    await commitMany(store, 500);
    expect(await firstAfter(store, 0)).toBe(1);
    await store.compact(200);
    await commitMany(store, 3000);
    expect(await firstAfter(store, 200)).toBe(201);
    await store.compact(1500);
    await store.compact(700);
    await commitMany(store, 3000);
    expect(await firstAfter(store, 1500)).toBe(1501);
    expect(await firstAfter(store, 300)).toBeInstanceOf(RevisionCompacted);
    await store.compact(1_000_000);
    for (let turn = 0; turn < 5; turn++) await commitMany(store, 1000);
    expect(Number(server.sql("SELECT count(*) FROM holdfast.changes"))).toBeLessThan(3000);
    expect(await firstAfter(store, 11_400)).toBe(11_401);
    await store.close();
  }, 20_000);
});
