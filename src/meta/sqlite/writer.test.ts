import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "bun:test";
import { type Change, RevisionCompacted, StoreFull, StoreUnavailable } from "../port.ts";
import { collect } from "../conformance-steps.ts";
import { openWriter } from "./index.ts";
import { openForReading } from "./database.ts";
import { temporaryPlace } from "./processes/spawn.ts";

const put = (key: string, value = "{}") => ({ put: [{ key, value }] });

describe("SqliteWriter", () => {
  test("a conflict in a group is its own: commits before and after it succeed", async () => {
    const place = temporaryPlace();
    const writer = openWriter({ path: place.path });
    const results = await Promise.all([
      writer.commit({ expect: [{ key: "k", version: 0 }], ...put("k", "1") }),
      writer.commit({ expect: [{ key: "k", version: 0 }], ...put("k", "2") }),
      writer.commit({ expect: [{ key: "k", version: 1 }], ...put("k", "3") }),
      writer.commit(put("other")),
    ]);
    expect(results).toEqual([
      { ok: true, revision: 1 },
      { ok: false, keys: ["k"] },
      { ok: true, revision: 2 },
      { ok: true, revision: 3 },
    ]);
    await writer.close();
    place.remove();
  });

  test("a burst of more than one group is answered whole and in order", async () => {
    const place = temporaryPlace();
    const writer = openWriter({ path: place.path });
    const results = await Promise.all(
      Array.from({ length: 10_000 }, (_, index) => writer.commit(put(`k${index}`))),
    );
    expect(results.map((result) => result.ok && result.revision)).toEqual(
      results.map((_, index) => index + 1),
    );
    await writer.close();
    place.remove();
  });

  test("a commit that the port does not allow is refused alone", async () => {
    const place = temporaryPlace();
    const writer = openWriter({ path: place.path });
    const good = writer.commit(put("good"));
    const twice = writer.commit({ ...put("k"), delete: ["k"] });
    const many = Array.from({ length: writer.operationsMax + 1 }, (_, index) => `${index}`);
    expect(await twice.catch((error: unknown) => error)).toBeInstanceOf(RangeError);
    expect(await writer.commit({ delete: many }).catch((error: unknown) => error)).toBeInstanceOf(
      RangeError,
    );
    expect(await good).toEqual({ ok: true, revision: 1 });
    await writer.close();
    place.remove();
  });

  test("the history reads the same from memory and from the database, wherever it begins", async () => {
    const place = temporaryPlace();
    const writer = openWriter({ path: place.path });
    const made: Change[] = [];
    for (let turn = 1; turn <= 1500; turn++) {
      const count = turn % 300 === 0 ? 3000 : turn % 7;
      const puts = Array.from({ length: count }, (_, n) => ({
        key: `k${n % 2}!${n}`,
        value: "{}",
      }));
      const kept = { key: "same", value: `${turn}` };
      const gone = turn % 2 === 0 ? ["once"] : [];
      const once = turn % 2 === 1 ? [{ key: "once", value: "{}" }] : [];
      await writer.commit({ put: [...puts, kept, ...once], delete: gone });
      const deleted = gone.map((key) => ({ key, value: undefined }));
      made.push({ revision: turn, changes: [...puts, kept, ...once, ...deleted] });
    }
    for (const after of [0, 1, 299, 300, 1000, 1200, 1243, 1244, 1499]) {
      expect(await collect(writer, "", after, 1500 - after)).toEqual(made.slice(after));
      const some = made
        .slice(after)
        .map(({ revision, changes }) => ({
          revision,
          changes: changes.filter(({ key }) => key.startsWith("k1!")),
        }))
        .filter(({ changes }) => changes.length > 0);
      expect(await collect(writer, "k1!", after, some.length)).toEqual(some);
    }
    await writer.close();
    const reopened = openWriter({ path: place.path });
    expect(await collect(reopened, "", 700, 800)).toEqual(made.slice(700));
    await reopened.close();
    place.remove();
  });

  test("history is trimmed to its bound, also when the bound is lowered", async () => {
    const place = temporaryPlace();
    const fill = async (historyMax: number, commits: number) => {
      const writer = openWriter({ path: place.path, historyMax });
      for (let turn = 0; turn < commits; turn++) await writer.commit(put("k"));
      const count = openForReading({ path: place.path });
      const rows = count.query("SELECT count(*), min(revision) FROM changes").values()[0];
      count.close();
      const old = writer.watch({ prefix: "", after: 0, signal: AbortSignal.timeout(1000) });
      const refused = await Array.fromAsync(old).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(RevisionCompacted);
      await writer.close();
      return rows;
    };
    expect(await fill(100, 250)).toEqual([100, 151]);
    expect(await fill(20, 10)).toEqual([20, 241]);
    place.remove();
  });

  test("the log stays small under load and is gone after close", async () => {
    const place = temporaryPlace();
    const writer = openWriter({ path: place.path });
    const value = JSON.stringify("x".repeat(4000));
    for (let turn = 0; turn < 400; turn++)
      await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          writer.commit(put(`k${(turn * 20 + index) % 500}`, value)),
        ),
      );
    expect(statSync(`${place.path}-wal`).size).toBeLessThan(16 * 2 ** 20);
    await writer.close();
    expect(existsSync(`${place.path}-wal`)).toBe(false);
    place.remove();
  });

  test("after close everything is refused, and what was asked before is done", async () => {
    const place = temporaryPlace();
    const writer = openWriter({ path: place.path });
    const last = writer.commit(put("last"));
    const watching = Array.fromAsync(
      writer.watch({ prefix: "none", after: 0, signal: new AbortController().signal }),
    ).catch((error: unknown) => error);
    await writer.close();
    expect(await last).toEqual({ ok: true, revision: 1 });
    expect(await watching).toBeInstanceOf(StoreUnavailable);
    for (const refused of [
      writer.get(["k"]),
      writer.scan({ prefix: "", limit: 1 }),
      writer.commit({}),
    ])
      expect(await Promise.resolve(refused).catch((error: unknown) => error)).toBeInstanceOf(
        StoreUnavailable,
      );
    place.remove();
  });

  const mountable = spawnSync("unshare", ["-m", "true"]).status === 0 && process.getuid?.() === 0;
  test.skipIf(!mountable)("a full disk refuses commits whole, and room heals it", async () => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-full-"));
    expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=3m", "none", directory]).status).toBe(0);
    try {
      const writer = openWriter({ path: join(directory, "meta", "holdfast.db") });
      await writer.commit(put("before"));
      const ballast = join(directory, "ballast");
      await Bun.write(ballast, new Uint8Array(2 * 2 ** 20));
      const value = JSON.stringify("x".repeat(60_000));
      const failures: unknown[] = [];
      let written = 0;
      for (; failures.length === 0 && written < 100; written++)
        await Promise.all([
          writer.commit({
            put: [
              { key: `a${written}`, value },
              { key: `b${written}`, value },
            ],
          }),
          writer.commit(put(`c${written}`, value)),
        ]).catch((error: unknown) => failures.push(error));
      expect(failures[0]).toBeInstanceOf(StoreFull);
      const last = written - 1;
      const { entries, revision } = await writer.get([
        `a${last}`,
        `b${last}`,
        `c${last}`,
        "before",
      ]);
      expect(entries.map((entry) => entry?.key)).toEqual([
        undefined,
        undefined,
        undefined,
        "before",
      ]);
      expect(revision).toBe(1 + 2 * last);
      rmSync(ballast);
      expect(await writer.commit(put("after"))).toEqual({ ok: true, revision: revision + 1 });
      await writer.close();
    } finally {
      spawnSync("umount", ["-l", directory]);
      rmSync(directory, { recursive: true });
    }
  });
});
