import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { randomHex, systemClock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import { openWriter } from "../meta/sqlite/index.ts";
import { failureOf } from "../blobs/conformance-tools.ts";
import { EXTERNAL } from "./cluster-founding.ts";
import { startNodeRecorder } from "./cluster-journal.ts";

/** Records some commits in a data directory; resolves to what the node said, and what it keeps of before. */
async function recorded(
  data: string,
  cluster: string,
  store: string,
  commits: number,
  installation = "0123456789abcdef",
) {
  const said: string[] = [];
  const note = (message: string, fields: object = {}) =>
    said.push(`${message} ${JSON.stringify(fields)}`);
  const log: Logger = { debug() {}, info() {}, warn: note, error: note, request() {} };
  const meta = openWriter({ path: join(data, store, "db"), historyMax: 1000 });
  const starting = startNodeRecorder(data, cluster, {
    store: meta,
    writer: randomHex(4),
    installation,
    mode: "behind",
    shared: false,
    clock: systemClock,
    log,
  });
  const { recorder } = await starting.catch(async (error: unknown) => {
    await meta.close();
    throw error;
  });
  for (let n = 0; n < commits; n++) await meta.commit({ put: [{ key: "tag!a!b", value: `${n}` }] });
  const { revision } = await meta.get([]);
  await recorder.close();
  expect(recorder.status().written).toBeGreaterThanOrEqual(revision);
  await meta.close();
  const kept = readdirSync(data).filter((name) => name.startsWith("journal.before-"));
  return { said, kept: kept.length };
}

test("a node goes on with the journal of its cluster, and keeps that of another beside", async () => {
  const data = mkdtempSync(join(tmpdir(), "holdfast-node-journal-"));
  try {
    expect(await recorded(data, "one", "a", 50)).toEqual({ said: [], kept: 0 });
    expect(await recorded(data, "one", "a", 10)).toEqual({ said: [], kept: 0 });
    // Recovered from a node that knew less, and by now further than this one had come.
    const recovered = await recorded(data, "two", "b", 100);
    expect(recovered.kept).toBe(1);
    expect(recovered.said[0]).toMatch(/begins a new journal.*journal\.before-.*of cluster one/);
    // The same cluster with less than it had.
    expect(String(await failureOf(recorded(data, "two", "c", 5)))).toMatch(
      /StartError: .*journal knows later commits than etcd, .*: to put a backup back run .* move that/,
    );
    expect(await recorded(data, "two", "b", 5)).toEqual({ said: [], kept: 1 });
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
});

test("with an etcd of the operator's a node refuses what its journal does not lead to", async () => {
  const data = mkdtempSync(join(tmpdir(), "holdfast-node-journal-"));
  try {
    expect(await recorded(data, EXTERNAL, "a", 50)).toEqual({ said: [], kept: 0 });
    const behind = await failureOf(recorded(data, EXTERNAL, "emptied", 1));
    expect(String(behind)).toMatch(
      /StartError: .*: correct cluster\.etcd\.endpoints or its prefix/,
    );
    const meta = openWriter({ path: join(data, "other", "db"), historyMax: 1000 });
    for (let n = 0; n < 100; n++) await meta.commit({ put: [{ key: "tag!a!b", value: `${n}` }] });
    await meta.close();
    const foreign = await failureOf(recorded(data, EXTERNAL, "other", 1, "fedcba9876543210"));
    expect(String(foreign)).toMatch(
      /StartError: .*installation 0123456789abcdef, the database .*; or move .*journal away/,
    );
    expect(await recorded(data, EXTERNAL, "a", 5)).toEqual({ said: [], kept: 0 });
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
});
