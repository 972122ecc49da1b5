/** What every engine of the metadata port must do, as tests; each engine runs it over its real store. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { collect, commit, done, drain, lost, put, sorted, write } from "./conformance-steps.ts";
import { ABSENT, type Change, type MetaStore, RevisionCompacted } from "./port.ts";

export interface ConformanceSubject {
  /** Two or more handles on the same store, as different processes or nodes would hold them. */
  readonly stores: readonly MetaStore[];
  /** Makes the store forget its history up to some commit after this call. */
  readonly forget: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Registers the suite. `open` is called once; each test keeps to keys of its own. */
export function metaStoreConformance(name: string, open: () => Promise<ConformanceSubject>): void {
  describe(`MetaStore conformance: ${name}`, () => {
    let subject: ConformanceSubject | undefined;
    let tests = 0;
    beforeAll(async () => {
      subject = await open();
    });
    afterAll(() => subject?.close());

    const use = () => {
      const [a, b] = subject?.stores ?? [];
      if (subject === undefined || a === undefined || b === undefined)
        throw new Error("the suite needs two handles on one store");
      return { a, b, forget: subject.forget, p: `t${String(tests++).padStart(4, "0")}!` };
    };

    describe("get", () => {
      test("keeps the order asked, repeats duplicates, shows absence", async () => {
        const { a, p } = use();
        const revision = await put(a, { [`${p}x`]: "1", [`${p}y`]: "2" });
        const asked = ["y", "none", "x", "y", "y"].map((key) => p + key);
        const x = { key: `${p}x`, value: "1", version: revision };
        const y = { key: `${p}y`, value: "2", version: revision };
        const read = await a.get(asked);
        expect(read.entries).toEqual([y, undefined, x, y, y]);
        expect(read.revision).toBeGreaterThanOrEqual(revision);
        expect(read.stale).toBe(false);
      });

      test("takes any number of keys", async () => {
        const { a, b, p } = use();
        const keys = Array.from({ length: 300 }, (_, index) => `${p}${index}`);
        for (const part of [keys.slice(0, 100), keys.slice(100, 200)]) {
          await put(a, Object.fromEntries(part.map((key) => [key, key])));
        }
        for (const count of [0, 1, 2, 3, 15, 16, 17, 64, 128, 129, 300]) {
          const { entries, revision } = await b.get(keys.slice(0, count));
          expect(entries.map((entry) => entry?.value)).toEqual(
            keys.slice(0, count).map((key, index) => (index < 200 ? key : undefined)),
          );
          expect(revision).toBeGreaterThan(0);
        }
      });

      test("is one snapshot: what is committed together is never seen apart", async () => {
        const { a, b, p } = use();
        const keys = [`${p}1`, `${p}2`, `${p}3`];
        const written: number[] = [];
        const writer = (async () => {
          for (let turn = 0; turn < 100; turn++)
            written.push(await put(a, Object.fromEntries(keys.map((key) => [key, `${turn}`]))));
        })();
        let reads = 0;
        while (written.length < 100) {
          const { entries, revision } = await b.get(keys);
          expect(new Set(entries.map((entry) => entry?.value)).size).toBe(1);
          expect(new Set(entries.map((entry) => entry?.version)).size).toBe(1);
          expect(revision).toBeGreaterThanOrEqual(entries[0]?.version ?? 0);
          reads++;
          await Promise.race([Bun.sleep(0), writer]);
        }
        await writer;
        expect(reads).toBeGreaterThan(0);
      });
    });

    describe("scan", () => {
      const names = ["a", "a/b", "a-b", "a.b", "ab", "a_b", "a!", "A", "a/b/c", "0", "~", "a b"];
      const byByte = (x: string, y: string) => Buffer.compare(Buffer.from(x), Buffer.from(y));
      const prepare = async () => {
        const { a, b, p } = use();
        const keys = names.flatMap((name) => [`${p}tag!${name}!1.0`, `${p}tag!${name}!1`]);
        const version = await put(a, Object.fromEntries(keys.map((key) => [key, `"${key}"`])));
        await put(a, { [`${p}tah`]: "beyond", [`${p}tag`]: "before", [`${p}tag"`]: "beyond" });
        return { b, prefix: `${p}tag!`, sorted: keys.sort(byByte), version };
      };

      test("orders by byte and stays in its prefix", async () => {
        const { b, prefix, sorted, version } = await prepare();
        const { entries, more, stale, revision } = await b.scan({ prefix, limit: 1000 });
        expect(entries).toEqual(sorted.map((key) => ({ key, value: `"${key}"`, version })));
        expect([more, stale]).toEqual([false, false]);
        expect(revision).toBeGreaterThan(version);
        const one = await b.scan({ prefix: `${prefix}a!`, limit: 1000 });
        const expected = sorted.filter((key) => key.startsWith(`${prefix}a!`));
        expect(one.entries.map(({ key }) => key)).toEqual(expected);
      });

      test("pages by after and limit, both ways, and knows whether there is more", async () => {
        const { b, prefix, sorted } = await prepare();
        for (const reverse of [false, true]) {
          const wanted = reverse ? [...sorted].reverse() : sorted;
          for (const limit of [1, 5, sorted.length, sorted.length + 1]) {
            const seen: string[] = [];
            let more = true;
            while (more) {
              const after = seen.at(-1);
              const page = await b.scan({
                prefix,
                limit,
                reverse,
                ...(after === undefined ? {} : { after }),
              });
              expect(page.entries.length).toBe(Math.min(limit, wanted.length - seen.length));
              seen.push(...page.entries.map(({ key }) => key));
              more = page.more;
              expect(more).toBe(seen.length < wanted.length);
            }
            expect(seen).toEqual(wanted);
          }
        }
      });

      test("shows the same keys when only they are wanted", async () => {
        const { b, prefix } = await prepare();
        for (const reverse of [false, true]) {
          const run = { prefix, limit: 5, reverse };
          const whole = await b.scan(run);
          const found = await b.scan({ ...run, keysOnly: true });
          const bare = whole.entries.map(({ key }) => ({ key, value: "", version: 0 }));
          expect(found).toEqual({ ...whole, entries: bare });
        }
      });

      test("after need not exist, nor lie in the prefix", async () => {
        const { b, prefix, sorted } = await prepare();
        const keys = async (after: string, reverse: boolean) =>
          (await b.scan({ prefix, after, limit: 1000, reverse })).entries.map(({ key }) => key);
        const gone = `${prefix}a/`;
        expect(await keys(gone, false)).toEqual(sorted.filter((key) => key > gone));
        expect(await keys(gone, true)).toEqual(sorted.filter((key) => key < gone).reverse());
        expect(await keys(" ", false)).toEqual(sorted);
        expect(await keys(" ", true)).toEqual([]);
        expect(await keys("~~~", false)).toEqual([]);
        expect(await keys("~~~", true)).toEqual([...sorted].reverse());
        expect(await keys(prefix, false)).toEqual(sorted);
        expect(await keys(prefix.slice(0, -1), false)).toEqual(sorted);
      });

      test("an empty prefix is everything; an empty run has a revision", async () => {
        const { b, prefix, sorted } = await prepare();
        const all = await b.scan({ prefix: "", limit: 1_000_000 });
        const keys = all.entries.map(({ key }) => key);
        expect(keys).toEqual([...keys].sort(byByte));
        expect(keys).toEqual(expect.arrayContaining(sorted));
        const last = await b.scan({ prefix: "", limit: 1, reverse: true });
        expect(last.entries[0]?.key).toBe(keys.at(-1) ?? "");
        const none = await b.scan({ prefix: `${prefix}none`, limit: 1 });
        expect(none).toEqual({ entries: [], more: false, stale: false, revision: all.revision });
      });
    });

    describe("commit", () => {
      test("expects absence and versions", async () => {
        const { a, p } = use();
        const key = `${p}k`;
        const first = await commit(a, [[key, ABSENT]], { [key]: "1" });
        expect(await a.commit(write([[key, ABSENT]], { [key]: "2" }))).toEqual(lost(key));
        const second = await commit(a, [[key, first]], { [key]: "2" });
        expect(second).toBeGreaterThan(first);
        expect(await a.commit(write([[key, first]], { [key]: "3" }))).toEqual(lost(key));
        expect((await a.get([key])).entries).toEqual([{ key, value: "2", version: second }]);
      });

      test("is atomic, and a conflict names what failed", async () => {
        const { a, p } = use();
        const [held, other, fresh] = [`${p}held`, `${p}other`, `${p}fresh`];
        const version = await put(a, { [held]: "1", [other]: "1" });
        const result = await a.commit({
          ...write(
            [
              [held, version],
              [other, version + 1_000_000],
              [fresh, ABSENT],
            ],
            { [fresh]: "x", [held]: "2" },
          ),
          delete: [other],
        });
        expect(result).toEqual(lost(other));
        const { entries } = await a.get([held, other, fresh]);
        expect(entries.map((entry) => entry?.value)).toEqual(["1", "1", undefined]);
        const both = await a.commit(
          write(
            [
              [fresh, 1],
              [held, ABSENT],
            ],
            {},
          ),
        );
        if (both.ok) throw new Error("a commit with two failed expectations succeeded");
        expect(both.keys.length).toBeGreaterThan(0);
        expect([fresh, held]).toEqual(expect.arrayContaining([...both.keys]));
      });

      test("never repeats a version after delete and put", async () => {
        const { a, b, p } = use();
        const key = `${p}k`;
        const versions: number[] = [];
        for (let turn = 0; turn < 10; turn++) {
          const store = turn % 2 === 0 ? a : b;
          const version = await commit(store, [[key, ABSENT]], { [key]: "same" });
          const gone = await done(store.commit({ expect: [{ key, version }], delete: [key] }));
          versions.push(version, gone);
          expect((await a.get([key])).entries).toEqual([undefined]);
        }
        expect(versions).toEqual([...new Set(versions)].sort((x, y) => x - y));
        const old = versions[0] ?? 0;
        await put(a, { [key]: "same" });
        expect(await b.commit(write([[key, old]], { [key]: "stale" }))).toEqual(lost(key));
      });

      test("without writes only checks", async () => {
        const { a, p } = use();
        const key = `${p}k`;
        const version = await put(a, { [key]: "1" });
        expect((await a.commit({})).ok).toBe(true);
        expect((await a.commit(write([[key, version]], {}))).ok).toBe(true);
        expect(await a.commit(write([[key, ABSENT]], {}))).toEqual(lost(key));
        expect((await a.get([key])).entries[0]?.version).toBe(version);
      });

      test("deleting what is absent succeeds", async () => {
        const { a, p } = use();
        expect((await a.commit({ delete: [`${p}none`] })).ok).toBe(true);
      });

      test("takes 250 puts and expectations, and keeps any JSON text as it is", async () => {
        const { a, b, p } = use();
        expect(a.operationsMax).toBeGreaterThanOrEqual(128);
        const count = Math.min(250, a.operationsMax);
        const keys = Array.from({ length: count }, (_, index) => `${p}many!${index}`);
        const values = Object.fromEntries(keys.map((key, index) => [key, `{"n":${index}}`]));
        const version = await commit(
          a,
          keys.map((key) => [key, ABSENT]),
          values,
        );
        const { entries } = await b.get(keys);
        expect(entries).toEqual(keys.map((key) => ({ key, value: values[key] ?? "", version })));
        const texts = [
          JSON.stringify("grüße 漢字 🐳 \u2028 \u0000 \" \\ ' % _ \ufeff"),
          JSON.stringify("\ufeff🐳".repeat(9000)),
          JSON.stringify("x".repeat(65_534)),
          "{}",
        ];
        const kept = Object.fromEntries(texts.map((text, index) => [`${p}text!${index}`, text]));
        await put(b, kept);
        const scanned = await a.scan({ prefix: `${p}text!`, limit: 10 });
        expect(scanned.entries.map(({ value }) => value)).toEqual(texts);
      });
    });

    describe("handles", () => {
      test("each reads what the other has just committed", async () => {
        const { a, b, p } = use();
        for (let turn = 0; turn < 50; turn++) {
          const [writer, reader] = turn % 2 === 0 ? [a, b] : [b, a];
          const revision = await put(writer, { [`${p}k`]: `${turn}` });
          const read = await reader.get([`${p}k`]);
          expect(read.entries[0]).toEqual({ key: `${p}k`, value: `${turn}`, version: revision });
          expect(read.revision).toBeGreaterThanOrEqual(revision);
        }
      });

      test("32 concurrent counters by compare-and-set lose no update", async () => {
        const { a, b, p } = use();
        const keys = Array.from({ length: 4 }, (_, index) => `${p}${index}`);
        const increment = async (store: MetaStore, key: string): Promise<void> => {
          const entry = (await store.get([key])).entries[0];
          const next = `${Number(entry?.value ?? 0) + 1}`;
          const result = await store.commit(
            write([[key, entry?.version ?? ABSENT]], { [key]: next }),
          );
          if (!result.ok) await increment(store, key);
        };
        const worker = async (index: number) => {
          for (let turn = 0; turn < 10; turn++)
            await increment(index % 2 === 0 ? a : b, keys[(index >> 1) % keys.length] ?? "");
        };
        await Promise.all(Array.from({ length: 32 }, (_, index) => worker(index)));
        const { entries } = await a.get(keys);
        expect(entries.map((entry) => entry?.value)).toEqual(["80", "80", "80", "80"]);
      }, 30_000);

      test("one of many who claim the same absent key wins", async () => {
        const { a, b, p } = use();
        const claims = Array.from({ length: 20 }, (_, index) =>
          (index % 2 === 0 ? a : b).commit(write([[`${p}k`, ABSENT]], { [`${p}k`]: `${index}` })),
        );
        const results = await Promise.all(claims);
        const winner = results.findIndex(({ ok }) => ok);
        expect(results.filter(({ ok }) => ok).length).toBe(1);
        expect((await b.get([`${p}k`])).entries[0]?.value).toBe(`${winner}`);
      });

      test("concurrent commits on different keys all succeed, each with its own revision", async () => {
        const { a, b, p } = use();
        const revisions = await Promise.all(
          Array.from({ length: 100 }, (_, index) => {
            const key = `${p}${index}`;
            return commit(index % 2 === 0 ? a : b, [[key, ABSENT]], { [key]: `${index}` });
          }),
        );
        expect(new Set(revisions).size).toBe(100);
        const { entries } = await a.scan({ prefix: p, limit: 200 });
        expect(new Set(entries.map(({ version }) => version))).toEqual(new Set(revisions));
      });
    });

    describe("watch", () => {
      test("yields the past, then what comes, without gap or repeat, under its prefix only", async () => {
        const { a, b, p } = use();
        const start = (await a.get([])).revision;
        const past: number[] = [];
        for (let turn = 0; turn < 50; turn++)
          past.push(await put(a, { [`${p}in!${turn % 7}`]: `${turn}`, [`${p}out`]: `${turn}` }));
        const seen = collect(b, `${p}in!`, start, 150);
        const middle = collect(a, `${p}in!`, past[24] ?? 0, 125);
        const rest = await Promise.all(
          Array.from({ length: 100 }, async (_, index) => {
            await put(a, { [`${p}other!${index}`]: "x" });
            return put(index % 2 === 0 ? a : b, { [`${p}in!x${index}`]: `${index}` });
          }),
        );
        const revisions = [...past, ...rest.sort((x, y) => x - y)];
        expect((await seen).map(({ revision }) => revision)).toEqual(revisions);
        expect((await middle).map(({ revision }) => revision)).toEqual(revisions.slice(25));
        expect((await seen)[0]?.changes).toEqual([{ key: `${p}in!0`, value: "0" }]);
      }, 30_000);

      test("misses no commit that is made while it starts", async () => {
        const { a, b, p } = use();
        for (let turn = 0; turn < 60; turn++) {
          const [watched, other] = turn % 2 === 0 ? [a, b] : [b, a];
          const { revision } = await watched.get([]);
          const next = collect(watched, p, revision, 1);
          if (turn % 3 === 1) await Promise.resolve();
          if (turn % 3 === 2) await Bun.sleep(0);
          const made = await put(other, { [`${p}k`]: `${turn}` });
          expect((await next).map(({ revision }) => revision)).toEqual([made]);
        }
      });

      test("shows a commit whole, and deletes without a value", async () => {
        const { a, b, p } = use();
        const start = await put(a, { [`${p}1`]: "a", [`${p}2`]: "b" });
        const revision = await done(
          a.commit({
            ...write([], { [`${p}1`]: "c", [`${p}3`]: "d" }),
            delete: [`${p}2`, `${p}none`],
          }),
        );
        const [change] = await collect(b, p, start, 1);
        expect(change?.revision).toBe(revision);
        const changes = [...(change?.changes ?? [])].sort((x, y) => (x.key < y.key ? -1 : 1));
        expect(changes).toEqual([
          { key: `${p}1`, value: "c" },
          { key: `${p}2`, value: undefined },
          { key: `${p}3`, value: "d" },
        ]);
      });

      test("ends when its signal aborts, waiting or not", async () => {
        const { a, b, p } = use();
        const start = (await a.get([])).revision;
        for (const store of [a, b]) {
          const aborted = new AbortController();
          const waiting = drain(store.watch({ prefix: p, after: start, signal: aborted.signal }));
          await Bun.sleep(20);
          aborted.abort();
          expect(await waiting).toBe(0);
          expect(
            await drain(store.watch({ prefix: p, after: start, signal: aborted.signal })),
          ).toBe(0);
        }
      });

      test("refuses history that is gone, and goes on from a scan", async () => {
        const { a, b, p, forget } = use();
        const start = await put(a, { [`${p}k`]: "1" });
        await put(a, { [`${p}k`]: "2" });
        await forget();
        for (const store of [a, b]) {
          const refused = collect(store, p, start, 1);
          expect(await refused.catch((error: unknown) => error)).toBeInstanceOf(RevisionCompacted);
        }
        const { revision, entries } = await b.scan({ prefix: p, limit: 10 });
        expect(entries.map(({ value }) => value)).toEqual(["2"]);
        const next = collect(b, p, revision, 1);
        const after = await put(a, { [`${p}k`]: "3" });
        expect((await next).map(({ revision }) => revision)).toEqual([after]);
      }, 20_000);
    });

    test("any sequence of commits does what a map would do", async () => {
      const { a, b, p } = use();
      let run = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(modelCommit, { minLength: 1, maxLength: 25 }), async (steps) => {
          const prefix = `${p}${run++}!`;
          const start = (await a.get([])).revision;
          const model = new Map<string, { value: string; version: number }>();
          const log: Change[] = [];
          for (const { onB, expects, puts, deletes } of steps) {
            const store = onB ? b : a;
            const versionOf = (key: string) => model.get(key)?.version ?? ABSENT;
            const expectations = expects.map(({ name, right }): [string, number] => {
              const version = versionOf(prefix + name);
              return [prefix + name, right ? version : version === ABSENT ? start : ABSENT];
            });
            const wrong = expectations.filter(([key, version]) => versionOf(key) !== version);
            const gone = deletes.filter((name) => !(name in puts)).map((name) => prefix + name);
            const values = Object.fromEntries(
              Object.entries(puts).map(([name, value]) => [prefix + name, JSON.stringify(value)]),
            );
            const result = await store.commit({ ...write(expectations, values), delete: gone });
            expect(result.ok).toBe(wrong.length === 0);
            if (!result.ok) {
              expect(wrong.map(([key]) => key)).toEqual(expect.arrayContaining([...result.keys]));
              continue;
            }
            const changes = [
              ...Object.entries(values).map(([key, value]) => ({ key, value })),
              ...gone.filter((key) => model.has(key)).map((key) => ({ key, value: undefined })),
            ];
            for (const [key, value] of Object.entries(values))
              model.set(key, { value, version: result.revision });
            for (const key of gone) model.delete(key);
            if (changes.length > 0) log.push({ revision: result.revision, changes });
          }
          const expected = [...model].map(([key, entry]) => ({ key, ...entry }));
          expected.sort((x, y) => (x.key < y.key ? -1 : 1));
          for (const store of [a, b])
            expect((await store.scan({ prefix, limit: 100 })).entries).toEqual(expected);
          expect((await collect(b, prefix, start, log.length)).map(sorted)).toEqual(
            log.map(sorted),
          );
        }),
        { numRuns: 40 },
      );
    }, 60_000);
  });
}

const modelName = fc.constantFrom("a", "a!b", "a-b", "ab", "b");
const modelCommit = fc.record({
  onB: fc.boolean(),
  expects: fc.uniqueArray(
    fc.record({ name: modelName, right: fc.integer({ min: 0, max: 4 }).map((n) => n > 0) }),
    { maxLength: 3, selector: ({ name }) => name },
  ),
  puts: fc.dictionary(modelName, fc.string({ maxLength: 8 }), {
    maxKeys: 3,
    noNullPrototype: true,
  }),
  deletes: fc.uniqueArray(modelName, { maxLength: 2 }),
});
