import { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { describe, expect, test } from "bun:test";
import { StoreUnavailable } from "../port.ts";
import { openForReading, openForWriting } from "./database.ts";
import { layoutOf, type Step, STEPS } from "./layout.ts";
import { openWriter } from "./index.ts";
import { temporaryPlace } from "./processes/spawn.ts";

const NEXT: Step = [
  "ALTER TABLE store ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",
  "UPDATE store SET note = 'migrated ' || revision",
];

async function withRecords(): Promise<ReturnType<typeof temporaryPlace>> {
  const place = temporaryPlace();
  const writer = openWriter({ path: place.path });
  await writer.commit({ put: [{ key: "k", value: "1" }] });
  await writer.close();
  return place;
}

describe("layout", () => {
  test("an older database is migrated by the writer and keeps its records", async () => {
    const place = await withRecords();
    const later = { path: place.path, steps: [...STEPS, NEXT] };
    expect(() => openForReading(later)).toThrow(/open the writer first/);
    const database = openForWriting(later);
    expect(layoutOf(database)).toBe(STEPS.length + 1);
    expect(database.prepare("SELECT note FROM store").values()).toEqual([["migrated 1"]]);
    expect(database.prepare("SELECT key, value, version FROM kv").values()).toEqual([
      ["k", "1", 1],
    ]);
    database.close();
    openForReading(later).close();
    place.remove();
  });

  test("a step that fails leaves the database as it was", async () => {
    const place = await withRecords();
    const steps = [...STEPS, [...NEXT, "INSERT INTO nowhere VALUES (1)"]];
    expect(() => openForWriting({ path: place.path, steps })).toThrow(StoreUnavailable);
    const writer = openWriter({ path: place.path });
    expect((await writer.get(["k"])).entries[0]?.value).toBe("1");
    await writer.close();
    const database = new Database(place.path, { readonly: true });
    const columns = database.prepare("SELECT name FROM pragma_table_info('store')").values();
    expect(columns.flat()).toEqual(["id", "revision", "compacted"]);
    database.close();
    place.remove();
  });

  test("a newer database is refused by name, by writer and reader, untouched", async () => {
    const place = temporaryPlace();
    const steps = [...STEPS, NEXT];
    openForWriting({ path: place.path, steps }).close();
    for (const open of [openForWriting, openForReading]) {
      const message = `layout ${STEPS.length + 1} and this program knows layouts up to ${STEPS.length}: start the newer`;
      expect(() => open({ path: place.path })).toThrow(message);
    }
    openForReading({ path: place.path, steps }).close();
    place.remove();
  });

  test("what is no database is refused as damaged", async () => {
    const place = temporaryPlace();
    mkdirSync(dirname(place.path), { recursive: true });
    await Bun.write(place.path, "not a database, but long enough to be looked at".repeat(100));
    expect(() => openWriter({ path: place.path })).toThrow(/damaged/);
    place.remove();
  });
});
