import { Database } from "bun:sqlite";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { openWriter } from "./index.ts";
import { type Place, spawnWriter, temporaryPlace } from "./processes/spawn.ts";

const ROUNDS = 6;

test("what was acknowledged survives kill -9 of every process at any moment", async () => {
  const place = temporaryPlace();
  const acknowledged = new Map<string, number>();
  let recovered = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const [key, revision] of await killedRun(place, round)) acknowledged.set(key, revision);
    if (Bun.file(`${place.path}-wal`).size > 0) recovered++;
    const highest = await check(place, acknowledged);
    acknowledged.set(`round!${round}`, highest);
  }
  expect(acknowledged.size).toBeGreaterThan(ROUNDS * 20);
  expect(recovered).toBe(ROUNDS);
  place.remove();
}, 60_000);

/** Writes under load from two processes until everything is killed; what they had been told by then. */
async function killedRun(place: Place, round: number): Promise<[string, number][]> {
  const writer = await spawnWriter(place);
  const loads = [0, 1].map((index) =>
    Bun.spawn(
      [
        process.execPath,
        join(import.meta.dir, "processes", "load.ts"),
        place.path,
        place.socket,
        `r${round}!${index}!`,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    ),
  );
  const outputs = loads.map((load) => new Response(load.stdout).text());
  await Bun.sleep(200 + Math.random() * 300);
  const killed = [writer, ...loads].sort(() => Math.random() - 0.5);
  for (const child of killed) child.kill("SIGKILL");
  await Promise.all(killed.map((child) => child.exited));
  const lines = (await Promise.all(outputs)).flatMap((text) => text.split("\n").slice(0, -1));
  return lines.map((line) => {
    const [key = "", revision] = line.split(" ");
    return [key, Number(revision)];
  });
}

/** Opens what is left and compares; returns the revision of one more commit. */
async function check(place: Place, acknowledged: ReadonlyMap<string, number>): Promise<number> {
  const writer = openWriter({ path: place.path });
  const keys = [...acknowledged.keys()];
  const { entries, revision } = await writer.get(keys);
  for (const [index, key] of keys.entries())
    expect(entries[index]?.version).toBe(acknowledged.get(key) ?? -1);
  expect(revision).toBeGreaterThanOrEqual(Math.max(0, ...acknowledged.values()));

  const twins = await writer.scan({ prefix: "twin!", limit: 1_000_000 });
  const firsts = await writer.scan({ prefix: "r", limit: 1_000_000 });
  const pairs = firsts.entries.filter(({ key }) => !key.startsWith("round!"));
  expect(twins.entries.map(({ key, version }) => [key, version])).toEqual(
    pairs.map(({ key, version }) => [`twin!${key}`, version]),
  );

  const next = await writer.commit({ put: [{ key: `round!${rounds++}`, value: "{}" }] });
  if (!next.ok) throw new Error("a commit without expectations conflicted");
  expect(next.revision).toBe(revision + 1);
  await writer.close();
  const database = new Database(place.path, { readonly: true });
  expect(database.prepare("PRAGMA integrity_check").values()).toEqual([["ok"]]);
  database.close();
  return next.revision;
}

let rounds = 0;
