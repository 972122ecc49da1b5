import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import { delegate } from "../meta/delegate.ts";
import { keys, SCHEMA_VERSION } from "../meta/keys.ts";
import { ABSENT, type MetaStore } from "../meta/port.ts";
import { openWriter } from "../meta/sqlite/index.ts";
import { prepareSchema, readInstallation, SchemaTooNew, type SchemaStep } from "./schema.ts";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function openStore(): Promise<MetaStore> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-schema-"));
  cleanups.push(() => rmSync(directory, { recursive: true }));
  const store = openWriter({ path: join(directory, "holdfast.db") });
  cleanups.push(async () => store.close());
  return store;
}

async function valueOf(meta: MetaStore, key: string): Promise<string | undefined> {
  return (await meta.get([key])).entries[0]?.value;
}

const versionOf = async (meta: MetaStore): Promise<string | undefined> =>
  valueOf(meta, keys.schema);

/** Renames `thing!…` to `item!…`, one at a time, as a step over many records would. */
const rename: SchemaStep = {
  from: 1,
  async run(meta) {
    for (;;) {
      const [entry] = (await meta.scan({ prefix: "thing!", limit: 1 })).entries;
      if (entry === undefined) return;
      await meta.commit({
        expect: [{ key: entry.key, version: entry.version }],
        put: [{ key: entry.key.replace("thing!", "item!"), value: entry.value }],
        delete: [entry.key],
      });
    }
  },
};

/** Counts the items, which there are only once they have been renamed. */
const count: SchemaStep = {
  from: 2,
  async run(meta) {
    const { entries } = await meta.scan({ prefix: "item!", limit: 100 });
    await meta.commit({ put: [{ key: "count", value: `${entries.length}` }] });
  },
};

/** A store of the first version with five things. */
async function openOld(): Promise<MetaStore> {
  const meta = await openStore();
  await prepareSchema(meta, systemClock, { version: 1 });
  const put = Array.from({ length: 5 }, (_, i) => ({ key: `thing!${i}`, value: `${i}` }));
  await meta.commit({ put });
  return meta;
}

async function expectMigrated(meta: MetaStore): Promise<void> {
  expect(await versionOf(meta)).toBe('{"version":3}');
  expect((await meta.scan({ prefix: "thing!", limit: 9 })).entries).toEqual([]);
  const items = (await meta.scan({ prefix: "item!", limit: 9 })).entries;
  expect(items.map(({ value }) => value)).toEqual(["0", "1", "2", "3", "4"]);
  expect(await valueOf(meta, "count")).toBe("5");
}

const third = { version: 3, steps: [rename, count] };

describe("the key schema of a store", () => {
  test("that is new is this program's, once, and stays", async () => {
    const meta = await openStore();
    await prepareSchema(meta, systemClock);
    expect(await versionOf(meta)).toBe(`{"version":${SCHEMA_VERSION}}`);
    const id = await readInstallation(meta);
    const { revision } = await meta.get([]);
    await prepareSchema(meta, systemClock);
    expect(await readInstallation(meta)).toBe(id);
    expect((await meta.get([])).revision).toBe(revision);
  });

  test("that is older is brought up step by step, and not again", async () => {
    const meta = await openOld();
    await prepareSchema(meta, systemClock, third);
    await expectMigrated(meta);
    const { revision } = await meta.get([]);
    await prepareSchema(meta, systemClock, third);
    expect((await meta.get([])).revision).toBe(revision);
  });

  test("may be brought up by several nodes at once", async () => {
    const meta = await openOld();
    await Promise.all(
      Array.from({ length: 4 }, async () => prepareSchema(meta, systemClock, third)),
    );
    await expectMigrated(meta);
  });

  for (const commits of [1, 3, 5, 6, 7]) {
    test(`is brought up by the next start, when one was cut short at its commit ${commits}`, async () => {
      const meta = await openOld();
      let left = commits;
      const dying = delegate(meta, {
        commit: async (commit) => {
          if (--left === 0) throw new Error("killed");
          return meta.commit(commit);
        },
      });
      expect(await prepareSchema(dying, systemClock, third).catch(String)).toBe("Error: killed");
      expect(await versionOf(meta)).toBe(`{"version":${commits <= 6 ? 1 : 2}}`);
      await prepareSchema(meta, systemClock, third);
      await expectMigrated(meta);
    });
  }

  test("is never called newer than what has been done to it", async () => {
    const meta = await openOld();
    for (const [steps, reached] of [
      [[], 1],
      [[count], 1],
      [[rename], 2],
    ] as const) {
      const failed = await prepareSchema(meta, systemClock, { version: 3, steps }).catch(String);
      expect(failed).toBe(`Error: no step leads on from schema version ${reached}`);
      expect(await versionOf(meta)).toBe(`{"version":${reached}}`);
    }
  });

  test("has a step from every version before the program's", async () => {
    const meta = await openStore();
    const put = [
      { key: keys.schema, value: '{"version":1}' },
      { key: keys.uploadSecret, value: '"00"' },
    ];
    await meta.commit({ expect: [{ key: keys.schema, version: ABSENT }], put });
    await prepareSchema(meta, systemClock);
    expect(await versionOf(meta)).toBe(`{"version":${SCHEMA_VERSION}}`);
  });

  test("that is newer than the program is refused, and left alone", async () => {
    const meta = await openOld();
    await prepareSchema(meta, systemClock, third);
    const { revision } = await meta.get([]);
    const refused = prepareSchema(meta, systemClock, { version: 2, steps: [rename] });
    const error = await refused.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SchemaTooNew);
    expect(String(error)).toBe(
      "SchemaTooNew: the metadata has schema version 3, this program knows up to 2: start the newer Holdfast that wrote it",
    );
    expect((await meta.get([])).revision).toBe(revision);
  });
});
