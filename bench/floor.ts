/**
 * The least that a push can cost in this shape, on this machine: `bun bench/floor.ts [--port N]`. Two workers hash the
 * body of each PUT and put it into a pack (one shared fdatasync), then have the writer put one key (one shared fsync),
 * and answer 201. Nothing is parsed, checked, looked up, indexed or logged. The loads are those of the figures 6
 * (manifest PUT) and 5 (an image of one layer: POST, PUT, manifest PUT), and distribution gets them in the same run.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { openFileStore } from "../src/blobs/file/store.ts";
import { committerOf, connectClient, openWriter } from "../src/meta/sqlite/index.ts";
import { serveCommits } from "../src/meta/link/server.ts";
import { makeDigest } from "../src/oci/digest.ts";
import { Connection } from "./client.ts";
import { config, imageManifest, randomBlob } from "./payload.ts";
import type { Processes } from "./measure.ts";
import { measured } from "./measure.ts";
import { pushBlob, pushManifest } from "./registry.ts";
import { startDistribution, startHoldfast } from "./servers.ts";
import { median } from "./statistics.ts";

const clients = 8;
const puts = 2000;
const rounds = 3;
const layer = randomBlob(4096);

const work = async (port: number, data: string): Promise<void> => {
  const meta = await connectClient({
    path: join(data, "db"),
    socket: join(data, "socket"),
    onLost: () => process.exit(0),
  });
  const blobs = await openFileStore({ directory: data });
  Bun.serve({
    hostname: "127.0.0.1",
    port,
    reusePort: true,
    fetch: async (request) => {
      if (request.method === "POST")
        return new Response(null, { status: 202, headers: { Location: "/v2/upload" } });
      const bytes = new Uint8Array(await request.arrayBuffer());
      const digest = makeDigest("sha256", Bun.SHA256.hash(bytes, "hex"));
      const { locator } = await blobs.put(digest, bytes);
      await meta.commit({ put: [{ key: `blob!${digest}`, value: JSON.stringify({ locator }) }] });
      return new Response(null, { status: 201 });
    },
  });
};

/** The writer and two workers, as processes of their own. */
const write = async (port: number, data: string): Promise<void> => {
  mkdirSync(data, { recursive: true });
  const writer = openWriter({ path: join(data, "db") });
  await serveCommits(committerOf(writer), join(data, "socket"));
  for (let n = 0; n < 2; n++)
    Bun.spawn([process.execPath, import.meta.path, "worker", String(port), data], {
      stdout: "inherit",
      stderr: "inherit",
    });
  await Bun.sleep(500);
  console.log("ready");
};

interface Place {
  readonly name: string;
  readonly port: number;
  readonly pid: Processes;
}

/** Pushes `count` of something made beforehand; resolves to how many a second. */
type Load = (place: Place, prefix: string, count: number) => Promise<number>;

const pushing =
  <T>(
    make: (name: string) => T,
    push: (connection: Connection, name: string, made: T) => Promise<void>,
  ): Load =>
  async (place, prefix, count) => {
    const connections = await Promise.all(
      Array.from({ length: clients }, async () => Connection.open(place.port)),
    );
    const queue = Array.from({ length: count }, (_, n) => make(`${prefix}-${n}`)).entries();
    const began = performance.now();
    await Promise.all(
      connections.map(async (connection) => {
        for (const [n, made] of queue) await push(connection, `${prefix}-${n}`, made);
      }),
    );
    const seconds = (performance.now() - began) / 1000;
    for (const connection of connections) connection.close();
    return count / seconds;
  };

const loads: Readonly<Record<string, Load>> = {
  "manifest PUT": pushing(
    (name) => imageManifest([layer], name),
    (connection, name, manifest) => pushManifest(connection, "bench/floor", name, manifest),
  ),
  "image push": pushing(
    (name) => {
      const own = randomBlob(4096);
      return { own, manifest: imageManifest([own], name) };
    },
    async (connection, name, { own, manifest }) => {
      await pushBlob(connection, "bench/floor", own);
      await pushManifest(connection, "bench/floor", name, manifest);
    },
  ),
};

const compare = async (first: number): Promise<void> => {
  const dir = mkdtempSync(join(resolve(import.meta.dir, "../.cache"), "floor-"));
  const data = join(dir, "data");
  const floor = Bun.spawn([process.execPath, import.meta.path, "writer", String(first), data], {
    stdout: "pipe",
    stderr: "inherit",
  });
  await floor.stdout.getReader().read();
  const holdfast = await startHoldfast({ dir: join(dir, "holdfast"), port: first + 10 }, 2);
  mkdirSync(join(dir, "distribution"));
  const distribution = await startDistribution({
    dir: join(dir, "distribution"),
    port: first + 20,
  });
  const places: Place[] = [{ name: "floor", port: first, pid: floor.pid }, holdfast, distribution];
  try {
    for (const { port } of [holdfast, distribution]) {
      const connection = await Connection.open(port);
      for (const blob of [config, layer]) await pushBlob(connection, "bench/floor", blob);
      connection.close();
    }
    for (const [what, load] of Object.entries(loads)) {
      for (const place of places) await load(place, `${what[0]}warm`, 1000);
      const seen = places.map((place) => ({ place, rates: [] as number[], cpu: 0 }));
      for (let round = 0; round < rounds; round++)
        for (const entry of seen) {
          const run = await measured(entry.place.pid, async () =>
            load(entry.place, `${what[0]}${round}`, puts),
          );
          entry.rates.push(run.value);
          entry.cpu += run.usage.cpuSeconds;
          await Bun.sleep(300);
        }
      const peer = median(seen.at(-1)?.rates ?? []);
      console.log(`${what}, ${clients} clients`);
      for (const { place, rates, cpu } of seen) {
        const rate = median(rates);
        const each = Math.round((cpu / puts / rounds) * 1e6);
        console.log(
          `  ${place.name.padEnd(12)} ${rate.toFixed(0)}/s, ${(rate / peer).toFixed(2)} × distribution, ${each} µs of CPU each (${rates.map((one) => one.toFixed(0)).join(", ")})`,
        );
      }
    }
  } finally {
    floor.kill();
    await holdfast.stop();
    await distribution.stop();
    rmSync(dir, { recursive: true, force: true });
  }
};

const [role = "--port", port = "22800", data = ""] = process.argv.slice(2);
if (role === "worker") await work(Number(port), data);
else if (role === "writer") await write(Number(port), data);
else {
  await compare(Number(port));
  process.exit();
}
