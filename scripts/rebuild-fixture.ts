/**
 * `bun scripts/rebuild-fixture.ts [objects]`: makes a store of so many objects (1,000,000) with its journal, loses the
 * store, rebuilds it in a process of its own, and says how long that took and how much memory it needed. Exits with 1
 * when the two are not equal.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SingleBar } from "cli-progress";
import { systemClock } from "../src/base/clock.ts";
import { openFileObjects } from "../src/blobs/file/objects.ts";
import { journaled, restore, startRecorder, stateHash } from "../src/journal/index.ts";
import { install, quiet } from "../src/journal/journal-fixture.ts";
import { openWriter } from "../src/meta/sqlite/index.ts";

const MIB = 2 ** 20;
/** Keys of one push. */
const PUSH = 5;
const AT_ONCE = 256;

const [first = "1000000", directory] = process.argv.slice(2);
if (first === "--rebuild" && directory !== undefined) await rebuild(directory);
else await compare(Number(first));

async function compare(objects: number): Promise<void> {
  const place = mkdtempSync(join(tmpdir(), "holdfast-rebuild-"));
  try {
    const started = performance.now();
    const hash = await fill(place, objects);
    console.log(`${objects} objects made in ${seconds(started)}`);
    const child = Bun.spawn([process.execPath, import.meta.path, "--rebuild", place], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    if ((await child.exited) !== 0) throw new Error("the rebuild failed");
    const rebuilt = openWriter({ path: join(place, "new", "holdfast.db") });
    const equal = (await stateHash(rebuilt)) === hash;
    await rebuilt.close();
    console.log(equal ? "equal" : "NOT EQUAL");
    process.exitCode = equal ? 0 : 1;
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

/** Half of it before a snapshot, half after; a tenth written twice, a twentieth deleted again. */
async function fill(place: string, count: number): Promise<string> {
  const plain = openWriter({ path: join(place, "old", "holdfast.db") });
  await install(plain);
  const recorder = await startRecorder({
    store: plain,
    objects: await openFileObjects(join(place, "storage")),
    writer: "fixture",
    installation: "fixture",
    mode: "behind",
    shared: false,
    clock: systemClock,
    log: quiet,
  });
  const store = journaled(plain, recorder);
  const half = Math.floor(count / PUSH / 2) * PUSH;
  const push = async (at: number) => {
    const put = Array.from({ length: PUSH }, (_, n) => record(at + n));
    if (at % (10 * PUSH) === 0) put.push({ key: record(at + PUSH).key, value: "{}" });
    await store.commit({ put, delete: at % (20 * PUSH) === 0 ? [record(at - PUSH).key] : [] });
  };
  let next = 0;
  const lane = async (until: number) => {
    for (let at = next; at < until; at = next) {
      next += PUSH;
      await push(at);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, () => lane(half)));
  await recorder.snapshot();
  await Promise.all(Array.from({ length: AT_ONCE }, () => lane(count)));
  await recorder.close();
  const hash = await stateHash(plain);
  await plain.close();
  return hash;
}

function record(n: number): { readonly key: string; readonly value: string } {
  const hex = new Bun.CryptoHasher("sha256").update(`${n}`).digest("hex");
  const locator = `blobs/sha256/${hex.slice(0, 2)}/${hex}.0a1b2c3d`;
  const value = JSON.stringify({ size: n, locator, verified: true, at: 1_790_000_000_000 + n });
  return { key: `blob!sha256:${hex}`, value };
}

async function rebuild(place: string): Promise<void> {
  const path = join(place, "new", "holdfast.db");
  const bar = new SingleBar({
    format: "rebuilding [{bar}] {percentage}% | {entries} entries, {commits} commits",
    noTTYOutput: false,
  });
  let peak = 0;
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 20);
  const before = process.memoryUsage.rss();
  const started = performance.now();
  const { store, entries, commits } = await restore({
    objects: await openFileObjects(join(place, "storage")),
    open: (above) =>
      Promise.resolve(
        openWriter({ path, historyMax: 1, ...(above === undefined ? {} : { above }) }),
      ),
    clock: systemClock,
    progress({ done, total, ...counts }) {
      if (!bar.isActive) bar.start(total, done, counts);
      bar.update(done, counts);
    },
  });
  bar.stop();
  clearInterval(watch);
  await store.close();
  console.log(
    `${entries} entries, ${commits} commits replayed in ${seconds(started)}; memory at most ${Math.round(peak / MIB)} MiB, ${Math.round(before / MIB)} before`,
  );
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
