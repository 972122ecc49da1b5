/**
 * kill -9 under push load: after each restart everything that was acknowledged reads back byte for byte, what
 * was only begun is absent or whole, and what a tag shows is complete. `HOLDFAST_CRASH_ROUNDS` sets the rounds
 * (500 for a long run), `HOLDFAST_CRASH_SEED` replays one.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { alive, freePort, signal, until } from "../support/processes.ts";
import {
  bytesOf,
  imageManifest,
  pushBlob,
  pushInParts,
  pushManifest,
  sha256,
} from "../support/push.ts";
import { startServer, type TestServer } from "../support/server.ts";

const ROUNDS = Number(process.env["HOLDFAST_CRASH_ROUNDS"] ?? (process.env["CI"] ? 50 : 10));
const SEED = Number(process.env["HOLDFAST_CRASH_SEED"] ?? Date.now() % 1_000_000);
const CLIENTS = 4;
const SIZES = [10, 10, 4096, 4096, 70_000, 70_000, 600_000, 4_000_000];
/** Blobs and manifests of earlier rounds that each round reads again. */
const AGAIN = 100;

interface Pushed {
  readonly repository: string;
  readonly digest: string;
  /** Acknowledged, or seen after a restart. */
  lasting: boolean;
}
/** Its bytes are known by their seed. */
interface Blob extends Pushed {
  readonly seed: number;
  readonly size: number;
}
interface Manifest extends Pushed {
  readonly text: string;
  readonly layer: Blob;
}

/** All that was ever begun, in that order. */
interface Begun {
  readonly blobs: Blob[];
  readonly manifests: Manifest[];
  /** `repository:tag` → what it may show: the last acknowledged, and any that were under way when all died. */
  readonly tags: Map<string, readonly Manifest[]>;
  /** How many of them have been checked after a restart. */
  readonly checked: { blobs: number; manifests: number };
}

const random = lcg(SEED);
const dir = mkdtempSync(join(tmpdir(), "holdfast-crash-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test(
  `kill -9 at ${ROUNDS} random moments loses nothing (seed ${SEED})`,
  async () => {
    const port = freePort();
    const begun: Begun = {
      blobs: [],
      manifests: [],
      tags: new Map(),
      checked: { blobs: 0, manifests: 0 },
    };
    let next = SEED * 1000;
    for (let round = 1; round <= ROUNDS; round++) {
      const server = await startServer({ workers: 2, data: join(dir, "data"), port });
      if (round > 1) await verify(server.url, begun, round);
      const ending = { now: false };
      const clients = Array.from({ length: CLIENTS }, async (_, client) => {
        while (!ending.now) await pushOne(server.url, begun, `c${client}`, next++);
      });
      await Bun.sleep(30 + random() * 500);
      await die(server, round);
      ending.now = true;
      await Promise.all(clients);
      await server.stop();
    }
    const server = await startServer({ workers: 2, data: join(dir, "data"), port });
    begun.checked.blobs = begun.checked.manifests = 0;
    await verify(server.url, begun, ROUNDS);
    await server.stop();
    const [blobs, manifests] = [begun.blobs, begun.manifests].map((all) => ({
      there: all.filter(({ lasting }) => lasting).length,
      absent: all.filter(({ lasting }) => !lasting).length,
    }));
    expect(manifests?.there).toBeGreaterThan(ROUNDS);
    expect(blobs?.absent).toBeGreaterThan(0);
    console.log(`${ROUNDS} rounds:`, { blobs, manifests });
  },
  ROUNDS * 20_000,
);

/** Kills the parent alone, everything at once, or the workers first. */
async function die(server: TestServer, round: number): Promise<void> {
  const workers = server.workers();
  const order =
    round % 3 === 0
      ? [server.pid]
      : round % 3 === 1
        ? [server.pid, ...workers]
        : [...workers, server.pid];
  for (const pid of order) signal(pid, "SIGKILL");
  await until(() => ![server.pid, ...workers].some(alive), 5000, "everything to be dead");
  await server.kill();
}

/** Pushes one image of one layer and moves a tag to it; a failure is the crash. */
async function pushOne(url: string, begun: Begun, repository: string, seed: number): Promise<void> {
  const size = SIZES[Math.floor(random() * SIZES.length)] ?? 10;
  const bytes = bytesOf(seed, size);
  const layer = { repository, digest: sha256(bytes), lasting: false, seed, size };
  begun.blobs.push(layer);
  const part = { digest: layer.digest, size };
  const text = imageManifest({ config: part, layers: [part] });
  const manifest = { repository, digest: sha256(text), lasting: false, text, layer };
  const name = `t${seed % 3}`;
  const tag = `${repository}:${name}`;
  try {
    if (random() < 0.5) await pushBlob(url, repository, bytes);
    else await pushInParts(url, repository, bytes, 1 + Math.floor(random() * 4));
    layer.lasting = true;
    begun.manifests.push(manifest);
    begun.tags.set(tag, [...(begun.tags.get(tag) ?? []), manifest]);
    await pushManifest(url, repository, name, text);
    manifest.lasting = true;
    begun.tags.set(tag, [manifest]);
  } catch {
    await Bun.sleep(20);
  }
}

/** Everything begun since the last time, and some of what was checked then. */
async function verify(url: string, begun: Begun, round: number): Promise<void> {
  const { blobs, manifests, tags, checked } = begun;
  for (const blob of blobs.slice(Math.max(0, checked.blobs - AGAIN))) {
    const bytes = await readBack(`${url}/v2/${blob.repository}/blobs/`, blob, round);
    const same = bytes === undefined || bytes.equals(bytesOf(blob.seed, blob.size));
    expect(same, `round ${round}: bytes of ${JSON.stringify(blob)}`).toBe(true);
  }
  for (const manifest of manifests.slice(Math.max(0, checked.manifests - AGAIN))) {
    const bytes = await readBack(`${url}/v2/${manifest.repository}/manifests/`, manifest, round);
    if (bytes !== undefined) expect(bytes.toString(), `round ${round}`).toBe(manifest.text);
  }
  checked.blobs = blobs.length;
  checked.manifests = manifests.length;
  for (const [tag, allowed] of tags) {
    const [repository, name] = tag.split(":");
    const answer = await fetch(`${url}/v2/${repository}/manifests/${name}`);
    const text = await answer.text();
    if (answer.status === 404 && allowed.every(({ lasting }) => !lasting)) continue;
    expect(answer.status, `round ${round}: ${tag}`).toBe(200);
    const shown = allowed.find((manifest) => manifest.text === text);
    if (shown === undefined) throw new Error(`round ${round}: ${tag} shows ${text}`);
    const { digest, size } = shown.layer;
    const head = await fetch(`${url}/v2/${repository}/blobs/${digest}`, { method: "HEAD" });
    const length = head.headers.get("content-length");
    expect([head.status, length], `round ${round}: layer of ${tag}`).toEqual([200, `${size}`]);
    shown.lasting = true;
    tags.set(tag, [shown]);
  }
}

/** The bytes; `undefined` for what is not there and was not promised. */
async function readBack(place: string, pushed: Pushed, round: number): Promise<Buffer | undefined> {
  const answer = await fetch(place + pushed.digest);
  const bytes = Buffer.from(await answer.arrayBuffer());
  if (answer.status === 404 && !pushed.lasting) return undefined;
  expect(answer.status, `round ${round}: ${place}${pushed.digest}`).toBe(200);
  pushed.lasting = true;
  return bytes;
}

function lcg(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
