/** The database is deleted under two nodes that take pushes: `holdfast rebuild` makes it again from the bucket alone. */
import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseSegmentName, SEGMENTS } from "../../src/journal/names.ts";
import { stateHash } from "../../src/journal/index.ts";
import { isJournaled } from "../../src/meta/keys.ts";
import { openWriter } from "../../src/meta/sqlite/index.ts";
import { describeWith } from "../clients/support/tools.ts";
import { describeEtcd } from "../support/etcd.ts";
import { runHoldfast } from "../support/failed-start.ts";
import { startNodes } from "../support/nodes.ts";
import { describePostgres } from "../support/postgres.ts";
import { until } from "../support/processes.ts";
import { bytesOf, MANIFEST_TYPE } from "../support/push.ts";
import { randomOf, seedOf } from "../support/random.ts";
import { newPlace, type DatabaseKind } from "../support/shared-place.ts";
import {
  digestAt,
  expectStatus,
  pushImage,
  pushManifest,
  type Reached,
  request,
} from "./support/api.ts";
import { rawDatabase, type RawRecord } from "./support/databases.ts";

const PUSHERS = 4;
const PUSHING_MS = 1500;

interface Pushed {
  readonly repository: string;
  readonly digest: string;
  readonly layer: string;
}

/** Clients that push without pause. */
function startPushing(
  nodes: readonly Reached[],
  series: string,
): { readonly acknowledged: Pushed[]; stop(options?: { readonly wiped: true }): Promise<void> } {
  const random = randomOf(seedOf(`rebuild ${series}`));
  const acknowledged: Pushed[] = [];
  const failures: unknown[] = [];
  let running = true;
  const pusher = async (lane: number): Promise<void> => {
    for (let n = 1; running; n++) {
      const repository = `${series}/r${lane % 2}`;
      const layer = bytesOf(random.int(2 ** 30), random.pick([300, 5000, 100_000]));
      try {
        // Few tags, so that they have a history.
        const image = await pushImage(random.pick(nodes), repository, `t${n % 3}`, layer);
        acknowledged.push({ repository, ...image });
      } catch (error) {
        failures.push(error);
        return;
      }
    }
  };
  const all = Array.from({ length: PUSHERS }, (_, lane) => pusher(lane));
  return {
    acknowledged,
    async stop(options) {
      running = false;
      await Promise.all(all);
      if (options?.wiped !== true) expect(failures).toEqual([]);
    },
  };
}

/** A mount, a referrer, and a tag that goes. */
async function relate(node: Reached, { repository, digest, layer }: Pushed): Promise<void> {
  const mount = `/v2/mounted/app/blobs/uploads/?mount=${layer}&from=${repository}`;
  await expectStatus(await request(node, mount, { method: "POST" }), 201);
  const manifest = await (await request(node, `/v2/${repository}/manifests/${digest}`)).text();
  const subject = { mediaType: MANIFEST_TYPE, digest, size: manifest.length };
  const referrer = JSON.stringify({ ...(JSON.parse(manifest) as object), subject });
  await pushManifest(node, repository, "referrer", referrer);
  const tag = `/v2/${repository}/manifests/t0`;
  await expectStatus(await request(node, tag, { method: "DELETE" }), 202);
}

async function hashOf(records: readonly RawRecord[]): Promise<string> {
  const home = mkdtempSync(join(tmpdir(), "holdfast-state-"));
  const store = openWriter({ path: join(home, "db") });
  try {
    for (let at = 0; at < records.length; at += 500)
      await store.commit({ put: records.slice(at, at + 500) });
    return await stateHash(store);
  } finally {
    await store.close();
    rmSync(home, { recursive: true });
  }
}

async function lostAndRebuilt(kind: DatabaseKind): Promise<void> {
  await using place = await newPlace(kind);
  const { env } = place;
  const database = rawDatabase(kind, env);
  const data = mkdtempSync(join(tmpdir(), "holdfast-rebuild-"));
  const rebuild = async (...more: readonly string[]): Promise<string> => {
    const args = ["rebuild", "--data", data, ...more];
    const { code, stdout, stderr } = await runHoldfast(args, { env, timeout: 60_000 });
    expect(code, stderr + stdout).toBe(0);
    return stdout;
  };
  /** Resolves once the journal has what these records say. */
  const journaled = async (records: readonly RawRecord[]): Promise<void> => {
    const versions = records.filter(({ key }) => isJournaled(key)).map(({ version }) => version);
    const wanted = Math.max(...versions);
    const reach = (): number =>
      Math.max(
        ...readdirSync(place.pathOf(SEGMENTS)).map(
          (name) => parseSegmentName(SEGMENTS + name)?.last ?? 0,
        ),
      );
    await until(() => reach() >= wanted, 10_000, `the journal to reach ${wanted}`);
  };

  await using nodes = await startNodes({ env });
  const [a, b] = nodes.live;
  if (a === undefined || b === undefined) throw new Error("two nodes were asked for");
  const early = startPushing([a, b], "early");
  await Bun.sleep(PUSHING_MS);
  await early.stop();
  const [first] = early.acknowledged;
  if (first === undefined) throw new Error("nothing was pushed");
  await relate(b, first);
  // A node that lags writes its own time of hearing of a commit.
  await Bun.sleep(500);
  const middle = { hash: await hashOf(await database.records()), at: new Date().toISOString() };

  const late = startPushing([a, b], "late");
  await Bun.sleep(PUSHING_MS);
  const lost = await database.wipe(journaled);
  await late.stop({ wiped: true });
  for (const node of [a, b]) await nodes.drain(node);
  expect(early.acknowledged.length).toBeGreaterThan(10);
  expect(late.acknowledged.length).toBeGreaterThan(10);

  expect(await rebuild()).not.toContain("emptied");
  expect(await hashOf(await database.records())).toBe(await hashOf(lost));
  const again = await Promise.all([nodes.add(), nodes.add()]);
  for (const [n, { repository, digest, layer }] of [
    ...early.acknowledged,
    ...late.acknowledged,
  ].entries()) {
    const node = again[n % 2] ?? again[0];
    expect(await digestAt(node, `/v2/${repository}/manifests/${digest}`)).toBe(digest);
    expect(await digestAt(node, `/v2/${repository}/blobs/${layer}`)).toBe(layer);
  }
  await pushImage(again[1], "late/after", "v1", bytesOf(1, 1000));
  for (const node of again) await nodes.drain(node);

  await database.wipe(journaled);
  await rebuild("--at", middle.at);
  expect(await hashOf(await database.records())).toBe(middle.hash);
  const last = await nodes.add();
  const { repository, digest, layer } = first;
  expect(await digestAt(last, `/v2/${repository}/manifests/${digest}`)).toBe(digest);
  expect(await digestAt(last, `/v2/mounted/app/blobs/${layer}`)).toBe(layer);
  const referrers = await request(last, `/v2/${repository}/referrers/${digest}`);
  expect(await referrers.json()).toMatchObject({ manifests: [expect.any(Object)] });
  await expectStatus(await request(last, "/v2/late/after/manifests/v1"), 404);
  rmSync(data, { recursive: true });
}

describeWith(["versitygw"], "the database is deleted under pushes, and rebuilt", () => {
  describePostgres("PostgreSQL", () => {
    test("equal, and as it was in the middle", () => lostAndRebuilt("postgres"), 180_000);
  });
  describeEtcd("etcd", () => {
    test("equal, and as it was in the middle", () => lostAndRebuilt("etcd"), 180_000);
  });
});
