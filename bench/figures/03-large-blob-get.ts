import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Bench, Figure, Line, Reading } from "../bench.ts";
import { alternate, registries } from "../bench.ts";
import { Connection } from "../client.ts";
import type { Source } from "../payload.ts";
import { createSource } from "../payload.ts";
import { output } from "../processes.ts";
import type { Server } from "../servers.ts";
import { nodesOf } from "../servers.ts";
import { ratio, target } from "../targets.ts";
import { pushByPut } from "../uploads.ts";

const repository = "bench/large";
const size = 2 ** 30;

const drain = join(import.meta.dir, "../drain.ts");

interface Download {
  readonly status: number;
  readonly length: number;
  readonly seconds: number;
}

/** `times` GETs on one connection. */
const download = async (server: Server, path: string, times: number): Promise<Reading> => {
  const command = [process.execPath, drain, String(server.port), path, String(times)];
  const lines = (await output(command)).trim().split("\n");
  let seconds = 0;
  for (const line of lines) {
    const got = JSON.parse(line) as Download;
    if (got.status !== 200 || got.length !== size)
      throw new Error(`${server.name}: GET ${path} gave ${line}`);
    seconds += got.seconds;
  }
  return { value: (times * size) / 1e9 / seconds, work: (times * size) / 1e9 };
};

/** Reads the blob once, which warms the page cache, and compares it with its digest. */
const verify = async (server: Server, path: string, digest: string): Promise<void> => {
  const reply = await fetch(`http://127.0.0.1:${server.port}${path}`);
  const hash = new Bun.CryptoHasher("sha256");
  for await (const chunk of reply.body ?? []) hash.update(chunk);
  if (`sha256:${hash.digest("hex")}` !== digest)
    throw new Error(`${server.name}: GET ${path} gave other bytes`);
};

interface Stored {
  readonly source: Source;
  /** Of the request. */
  readonly path: string;
}

/** A blob of 1 GiB, pushed to all of them; its file is the caller's to remove. */
export const pushLarge = async (bench: Bench, servers: readonly Server[]): Promise<Stored> => {
  const source = await createSource(join(bench.sources, "download"), size);
  for (const server of servers) {
    bench.progress(`pushing 1 GiB to ${server.name}`);
    const connection = await Connection.open(server.port);
    await pushByPut(server, connection, repository, source);
    connection.close();
  }
  return { source, path: `/v2/${repository}/blobs/${source.digest}` };
};

/** Gets that blob from servers that show it. Several nodes take turns, round by round. */
export const getLarge = async (
  bench: Bench,
  name: string,
  { source, path }: Stored,
  servers: readonly Server[],
): Promise<Line> => {
  for (const server of servers) await verify(server, path, source.digest);
  const times = bench.quick ? 2 : 5;
  return alternate(bench, {
    figure: 3,
    name,
    unit: "GB/s",
    work: "GB",
    servers,
    once: (server, round) => {
      const nodes = nodesOf(server);
      return download(nodes[round % nodes.length] ?? server, path, times);
    },
  });
};

export const largeBlobGets = async (bench: Bench): Promise<Line> => {
  const stored = await pushLarge(bench, registries(bench));
  const { source, path } = stored;
  const { nginx } = bench;
  if (nginx !== undefined) {
    mkdirSync(join(nginx.data, `/v2/${repository}/blobs`), { recursive: true });
    copyFileSync(source.path, join(nginx.data, path));
  }
  rmSync(source.path);
  const servers = nginx === undefined ? registries(bench) : [...registries(bench), nginx];
  return getLarge(bench, "1 GiB blob GET, one connection", stored, servers);
};

export const largeBlobGet: Figure = {
  id: 3,
  title: "1 GiB blob GET",
  run: async (bench) => {
    const line = await largeBlobGets(bench);
    const cpu = ratio(line, ({ cpuPerWork }) => cpuPerWork);
    return {
      lines: [line],
      targets: [
        ...target(3, `${line.name}: bytes/s`, ratio(line), { atLeast: 1 }),
        ...target(3, `${line.name}: CPU per GB`, cpu, { atMost: 1 }),
      ],
    };
  },
};
