/** Opening a PostgreSQL database: made by many at once, raised, refused with a sentence that names the remedy. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { StoreUnavailable } from "../../src/meta/port.ts";
import { openPostgres, type PostgresOptions } from "../../src/meta/postgres/index.ts";
import { STEPS } from "../../src/meta/postgres/layout.ts";
import { describePostgres, startPostgres } from "../support/postgres.ts";
import { BUN, freePort } from "../support/processes.ts";

const ENGINE = join(import.meta.dir, "../../src/meta/postgres/index.ts");
const put = (key: string) => ({ put: [{ key, value: "1" }] });

async function refusal(options: PostgresOptions): Promise<string> {
  const start = performance.now();
  try {
    const store = await openPostgres(options);
    await store.close();
  } catch (error) {
    expect(error).toBeInstanceOf(StoreUnavailable);
    expect(performance.now() - start).toBeLessThan(2500);
    const { message } = error as Error;
    expect(message).not.toContain("\n");
    return message;
  }
  throw new Error("it was opened");
}

describePostgres("an empty database", () => {
  test("is made once by processes that start at the same time", async () => {
    await using server = await startPostgres();
    const code = `
      import { openPostgres } from ${JSON.stringify(ENGINE)};
      const [place, key] = process.argv.slice(-2);
      const store = await openPostgres(JSON.parse(place));
      const done = await store.commit({ expect: [{ key, version: 0 }], put: [{ key, value: "1" }] });
      console.log(done.revision);
      await store.close();
      process.exit(0);`;
    const children = Array.from({ length: 8 }, (_, index) =>
      Bun.spawn([BUN, "-e", code, JSON.stringify(server.place), `k${index}`], {
        stdio: ["ignore", "pipe", "inherit"],
      }),
    );
    const revisions = await Promise.all(
      children.map(async (child) => Number(await new Response(child.stdout).text())),
    );
    expect(revisions.sort((x, y) => x - y)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(server.sql("SELECT layout, revision FROM holdfast.state")).toBe(`${STEPS.length}|8`);
    expect(server.logs()).not.toContain('ERROR:  relation "holdfast.state" already exists');
  }, 20_000);

  test("may be made above a revision; one with records may not be raised", async () => {
    await using server = await startPostgres();
    const above = 2 ** 41;
    const store = await openPostgres({ ...server.place, above });
    expect((await store.get([])).revision).toBe(above);
    expect(await store.commit(put("k"))).toEqual({ ok: true, revision: above + 1 });
    expect((await store.get(["k"])).entries[0]?.version).toBe(above + 1);
    const other = await openPostgres(server.place);
    expect(await other.commit(put("l"))).toEqual({ ok: true, revision: above + 2 });
    expect(await refusal({ ...server.place, above: above + 10 })).toContain(
      "is not empty: name an empty one in metadata.postgres.url",
    );
    expect((await store.get([])).revision).toBe(above + 2);
    await Promise.all([store.close(), other.close()]);
  });
});

describePostgres("a layout", () => {
  const next = ["ALTER TABLE holdfast.state ADD COLUMN note text NOT NULL DEFAULT 'none'"];

  test("of an older program is migrated and keeps its records; a newer one is refused", async () => {
    await using server = await startPostgres();
    const old = await openPostgres(server.place);
    await old.commit(put("k"));
    const steps = [...STEPS, next];
    const both = await Promise.all([
      openPostgres({ ...server.place, steps }),
      openPostgres({ ...server.place, steps }),
    ]);
    expect((await both[0].get(["k"])).entries[0]?.version).toBe(1);
    expect(server.sql("SELECT layout, note FROM holdfast.state")).toBe(`${STEPS.length + 1}|none`);
    expect(await refusal(server.place)).toContain(
      `has layout ${STEPS.length + 1} and this program knows layouts up to ${STEPS.length}: start the newer`,
    );
    // The older one that runs goes on.
    expect((await old.commit(put("l"))).ok).toBe(true);
    await Promise.all([old, ...both].map((store) => store.close()));
  });

  test("that cannot be reached leaves the database as it was", async () => {
    await using server = await startPostgres();
    await (await openPostgres(server.place)).close();
    const steps = [...STEPS, [...next, "INSERT INTO nowhere VALUES (1)"]];
    expect(await refusal({ ...server.place, steps })).toContain("nowhere");
    const store = await openPostgres(server.place);
    expect((await store.commit(put("k"))).ok).toBe(true);
    expect(server.sql("SELECT layout FROM holdfast.state")).toBe(`${STEPS.length}`);
    await store.close();
  });
});

describePostgres("refused with one sentence that names the remedy:", () => {
  test("what is wrong with server, user, database or rights", async () => {
    await using server = await startPostgres({
      access: ["host all secret 127.0.0.1/32 scram-sha-256", "host all shut 127.0.0.1/32 reject"],
    });
    server.sql("CREATE ROLE secret LOGIN PASSWORD 'right/@:'");
    server.sql("CREATE ROLE shut LOGIN");
    server.sql("CREATE ROLE plain LOGIN");
    server.sql("CREATE DATABASE mine OWNER secret");
    server.sql("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0");
    const { place } = server;
    const mine = { ...place, database: "mine", user: "secret" };
    const store = await openPostgres({ ...mine, password: "right/@:" });
    expect((await store.commit(put("k"))).ok).toBe(true);
    await store.close();

    const cases: [PostgresOptions, string][] = [
      [{ ...mine, password: "wrong" }, 'does not let "secret" in'],
      [mine, 'does not let "secret" in'],
      [{ ...place, user: "shut" }, 'does not let "shut" in'],
      [{ ...place, user: "nobody" }, 'does not let "nobody" in'],
      [
        { ...place, database: "none" },
        'has no database "none": create it (CREATE DATABASE "none")',
      ],
      [{ ...place, database: "bytes" }, "has encoding SQL_ASCII: create one with ENCODING 'UTF8'"],
      [{ ...place, user: "plain" }, 'run ALTER DATABASE "postgres" OWNER TO "plain"'],
      [
        { ...mine, user: "plain" },
        "or name in metadata.postgres.url the user that made the schema",
      ],
      [{ ...place, tls: { mode: "require" } }, "do not agree on TLS"],
    ];
    for (const [options, message] of cases) expect(await refusal(options)).toContain(message);
  }, 20_000);

  test("a server that is not there", async () => {
    const port = freePort();
    const place = { user: "u", database: "d", hosts: [{ host: "127.0.0.1", port }] };
    expect(await refusal(place)).toMatch(
      /^the PostgreSQL server at 127\.0\.0\.1:\d+ cannot be reached \(.*\): start it, or correct metadata\.postgres\.url$/,
    );
  });
});
