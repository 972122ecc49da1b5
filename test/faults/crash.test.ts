/**
 * kill -9 under push load: after each restart everything that was acknowledged reads back byte for byte, and
 * what was not is either whole or absent. `HOLDFAST_CRASH_ROUNDS` sets the rounds (500 for a long run),
 * `HOLDFAST_CRASH_SEED` replays one.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { alive, freePort, signal, until } from "../support/processes.ts";
import { bytesOf, imageManifest, pushBlob, pushManifest, sha256 } from "../support/push.ts";
import { startServer, type TestServer } from "../support/server.ts";

const ROUNDS = Number(process.env["HOLDFAST_CRASH_ROUNDS"] ?? (process.env["CI"] ? 50 : 10));
const SEED = Number(process.env["HOLDFAST_CRASH_SEED"] ?? Date.now() % 1_000_000);
const CLIENTS = 4;
const SIZES = [10, 4096, 70_000, 1_500_000];

/** What a client was promised, in the order of the promises. Bytes are known by their seed. */
interface Promised {
  readonly blobs: Map<string, { readonly seed: number; readonly size: number }>;
  readonly manifests: Map<string, string>;
  /** Tag → digests it may show: the last acknowledged, and any that were under way when all died. */
  readonly tags: Map<string, Set<string>>;
}

const random = lcg(SEED);
const dir = mkdtempSync(join(tmpdir(), "holdfast-crash-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test(
  `kill -9 at ${ROUNDS} random moments loses nothing (seed ${SEED})`,
  async () => {
    const port = freePort();
    const promised: Promised = { blobs: new Map(), manifests: new Map(), tags: new Map() };
    let next = SEED * 1000;
    for (let round = 1; round <= ROUNDS; round++) {
      const server = await startServer({ workers: 2, data: join(dir, "data"), port });
      if (round > 1) await verify(server.url, promised, round);
      const ending = { now: false };
      const clients = Array.from({ length: CLIENTS }, async (_, client) => {
        while (!ending.now) await pushOne(server.url, promised, `c${client}`, next++);
      });
      await Bun.sleep(30 + random() * 500);
      await die(server, round);
      ending.now = true;
      await Promise.all(clients);
      await server.stop();
    }
    const server = await startServer({ workers: 2, data: join(dir, "data"), port });
    await verify(server.url, promised, ROUNDS, true);
    await server.stop();
    expect(promised.manifests.size).toBeGreaterThan(ROUNDS);
    console.log(
      `${ROUNDS} rounds: ${promised.blobs.size} blobs, ${promised.manifests.size} manifests, all there`,
    );
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
async function pushOne(
  url: string,
  promised: Promised,
  repository: string,
  seed: number,
): Promise<void> {
  const size = SIZES[Math.floor(random() * SIZES.length)] ?? 10;
  const tag = `${repository}:t${seed % 3}`;
  const bytes = bytesOf(seed, size);
  const digest = sha256(bytes);
  const shown = promised.tags.get(tag) ?? new Set<string>();
  promised.tags.set(tag, shown);
  try {
    await pushBlob(url, repository, bytes);
    promised.blobs.set(`${repository}@${digest}`, { seed, size });
    const part = { digest, size };
    const manifest = imageManifest({ config: part, layers: [part] });
    shown.add(sha256(manifest));
    await pushManifest(url, repository, tag.split(":")[1] ?? "", manifest);
    promised.manifests.set(`${repository}@${sha256(manifest)}`, manifest);
    promised.tags.set(tag, new Set([sha256(manifest)]));
  } catch {
    await Bun.sleep(20);
  }
}

/** Everything promised since the last time (or ever, for `all`), and that nothing else is half there. */
async function verify(url: string, promised: Promised, round: number, all = false): Promise<void> {
  const recent = <V>(map: Map<string, V>): [string, V][] => [...map].slice(all ? 0 : -300);
  for (const [key, { seed, size }] of recent(promised.blobs)) {
    const [repository, digest] = key.split("@");
    const answer = await fetch(`${url}/v2/${repository}/blobs/${digest}`);
    expect(answer.status, `round ${round}: ${key}`).toBe(200);
    const same = Buffer.from(await answer.arrayBuffer()).equals(bytesOf(seed, size));
    expect(same, `round ${round}: bytes of ${key}`).toBe(true);
  }
  for (const [key, manifest] of recent(promised.manifests)) {
    const [repository, digest] = key.split("@");
    const answer = await fetch(`${url}/v2/${repository}/manifests/${digest}`);
    expect(await answer.text(), `round ${round}: ${key}`).toBe(manifest);
  }
  for (const [tag, shown] of promised.tags) {
    const [repository, name] = tag.split(":");
    const answer = await fetch(`${url}/v2/${repository}/manifests/${name}`);
    const bytes = await answer.bytes();
    if (answer.status === 404 && !promised.manifests.has(`${repository}@${[...shown][0]}`))
      continue;
    expect(answer.status, `round ${round}: ${tag}`).toBe(200);
    expect([...shown], `round ${round}: ${tag}`).toContain(sha256(bytes));
    promised.tags.set(tag, new Set([sha256(bytes)]));
  }
}

function lcg(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
