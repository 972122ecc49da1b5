/** A database that is dropped and made anew under a running program, which must not mistake it for its own. */
import { expect, test } from "bun:test";
import { failureOf } from "../../src/blobs/conformance-tools.ts";
import { RevisionCompacted, StoreUnavailable } from "../../src/meta/port.ts";
import { openPostgres } from "../../src/meta/postgres/index.ts";
import { describePostgres, startPostgres } from "../support/postgres.ts";

const put = (key: string, value = "1") => ({ put: [{ key, value }] });

async function isRefused(work: Promise<unknown>): Promise<void> {
  const error = await work.catch((error: unknown) => error);
  expect(error).toBeInstanceOf(StoreUnavailable);
  expect(String(error)).toContain("another one than when this program started");
}

describePostgres("a PostgreSQL store that was made anew", () => {
  test.each([
    ["from nothing", undefined],
    ["above its old revisions", 2 ** 21],
  ])("%s is nothing to those who knew the old one", async (_, above) => {
    await using server = await startPostgres();
    const old = await openPostgres(server.place);
    for (let n = 0; n < 5; n++) await old.commit(put(`k${n}`));
    const signal = AbortSignal.timeout(10_000);
    const seen: string[] = [];
    const follow = async () => {
      for await (const { changes } of old.watch({ prefix: "", after: 0, signal }))
        seen.push(...changes.map(({ key }) => key));
    };
    const watching = isRefused(follow());
    server.sql("DROP SCHEMA holdfast CASCADE");
    const fresh = await openPostgres({
      ...server.place,
      ...(above === undefined ? {} : { above }),
    });
    for (let n = 0; n < 10; n++) await fresh.commit(put(`fresh${n}`));
    await isRefused(old.get(["k0"]));
    await isRefused(old.scan({ prefix: "", limit: 10 }));
    await isRefused(old.commit(put("k5")));
    await isRefused(old.commit({ expect: [{ key: "k0", version: 0 }] }));
    await watching;
    expect(seen.filter((key) => key.startsWith("fresh"))).toEqual([]);
    const { entries } = await fresh.scan({ prefix: "k", limit: 10 });
    expect(entries).toEqual([]);
    await old.compact(2 ** 22);
    expect(server.sql("SELECT released IS NULL FROM holdfast.state")).toBe("t");
    await Promise.all([old.close(), fresh.close()]);
  });

  test("one whose rows were deleted says so, and tells no history with a gap", async () => {
    await using server = await startPostgres();
    const store = await openPostgres(server.place);
    for (let n = 0; n < 5; n++) await store.commit(put(`k${n}`));
    const follow = async (after: number) => {
      const signal = AbortSignal.timeout(10_000);
      for await (const { revision } of store.watch({ prefix: "", after, signal })) return revision;
      return undefined;
    };
    server.sql("DELETE FROM holdfast.changes WHERE revision = 3");
    expect(await follow(3)).toBe(4);
    expect(await failureOf(follow(2))).toBeInstanceOf(RevisionCompacted);
    expect(await failureOf(follow(0))).toBeInstanceOf(RevisionCompacted);
    server.sql("TRUNCATE holdfast.changes");
    expect(await failureOf(follow(4))).toBeInstanceOf(RevisionCompacted);
    server.sql("TRUNCATE holdfast.entries, holdfast.outcomes, holdfast.state");
    for (const work of [() => store.get(["k0"]), () => openPostgres(server.place)])
      expect(String(await failureOf(work()))).toContain("DROP SCHEMA holdfast CASCADE");
    await store.close();
  });

  test("an empty one that is raised is another one", async () => {
    await using server = await startPostgres();
    const old = await openPostgres(server.place);
    await old.get([]);
    const fresh = await openPostgres({ ...server.place, above: 1000 });
    await isRefused(old.commit(put("k")));
    expect((await fresh.commit(put("k"))).ok).toBe(true);
    await Promise.all([old.close(), fresh.close()]);
  });
});
