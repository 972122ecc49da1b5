/** Connections that break in the middle of a commit: what became of it is found out, never assumed. */
import { expect, test } from "bun:test";
import { Unknown } from "../../src/meta/postgres/errors.ts";
import { openPostgres } from "../../src/meta/postgres/index.ts";
import { checkLoad, startLoad, WHOLE_HISTORY } from "../support/commit-log.ts";
import { describePostgres, startPostgres } from "../support/postgres.ts";
import { type Fate, startProxy } from "../support/postgres-proxy.ts";

const unknown = (error: Error) => error instanceof Unknown;
/** In what a client sends when it commits a group, and only then. */
const isCommit = (said: Buffer) => said.includes('[{"p":[[');

describePostgres("an answer that is lost", () => {
  test.each<Fate>(["refuse", "blind", "swallow", "hold"])(
    "%s: each commit happens once, and is answered",
    async (fate) => {
      await using server = await startPostgres();
      using proxy = startProxy(server.port);
      const direct = await openPostgres({ ...server.place, ...WHOLE_HISTORY });
      const store = await openPostgres({
        ...server.place,
        ...WHOLE_HISTORY,
        hosts: [{ host: "127.0.0.1", port: proxy.port }],
      });
      let cut = 0;
      proxy.fate = (said) => {
        // What is held keeps its connection, of which the server has a hundred.
        if (cut === 60 || !isCommit(said) || Math.random() < 0.5) return "pass";
        cut++;
        return fate;
      };
      const load = startLoad(store, "k!");
      await Bun.sleep(1500);
      await load.stop();
      const answers = await proxy.release();
      expect(cut).toBeGreaterThan(5);
      expect(load.committed).toBeGreaterThan(20);
      expect([...load.told.values()].filter((answer) => answer instanceof Error)).toEqual([]);
      if (fate === "hold") {
        expect(answers.length).toBe(cut);
        for (const answer of answers) expect(answer).toContain("outcomes_pkey");
      }
      await checkLoad(direct, "k!", 0, load.told, unknown);
      await Promise.all([store.close(), direct.close()]);
    },
    20_000,
  );

  test("that never comes is waited for within bounds, and so is the search for it", async () => {
    await using server = await startPostgres();
    using proxy = startProxy(server.port);
    const direct = await openPostgres(server.place);
    const store = await openPostgres({
      ...server.place,
      hosts: [{ host: "127.0.0.1", port: proxy.port }],
    });
    let frozen = 0;
    proxy.fate = (said) => (isCommit(said) && frozen++ === 0 ? "freeze" : "pass");
    const start = performance.now();
    expect(await store.commit({ put: [{ key: "first", value: "1" }] })).toEqual({
      ok: true,
      revision: 1,
    });
    expect(performance.now() - start).toBeGreaterThan(1900);
    expect(performance.now() - start).toBeLessThan(2500);

    // The connection has to know the statement: it is sent with the first use only.
    await store.commit({ put: [{ key: "warm", value: "1" }] });
    proxy.fate = () => "freeze";
    const later = performance.now();
    const lost = await store
      .commit({ put: [{ key: "second", value: "1" }] })
      .catch((e: unknown) => e);
    expect(lost).toBeInstanceOf(Unknown);
    expect(performance.now() - later).toBeLessThan(4300);
    expect((await direct.get(["second"])).entries[0]?.version).toBe(3);
    proxy.fate = () => "pass";
    expect((await store.get(["second"])).entries[0]?.version).toBe(3);
    await Promise.all([store.close(), direct.close()]);
  }, 20_000);

  test("because sessions are terminated under load", async () => {
    await using server = await startPostgres();
    const place = { ...server.place, ...WHOLE_HISTORY };
    const stores = await Promise.all([openPostgres(place), openPostgres(place)]);
    const loads = stores.map((store, index) => startLoad(store, `k!${index}!`));
    for (let turn = 0; turn < 60; turn++) {
      server.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'holdfast'",
      );
      await Bun.sleep(Math.random() * 40);
    }
    await Promise.all(loads.map((load) => load.stop()));
    const [first] = stores;
    for (const [index, load] of loads.entries()) {
      expect(load.committed).toBeGreaterThan(100);
      expect(load.failed).toBe(0);
      await checkLoad(first, `k!${index}!`, 0, load.told, unknown);
    }
    expect(server.logs()).toContain("terminating connection due to administrator command");
    await Promise.all(stores.map((store) => store.close()));
  }, 30_000);
});
