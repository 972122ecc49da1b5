import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { Client } from "./client.ts";
import { Connection, inTurn } from "./client.ts";
import type { Processes } from "./measure.ts";
import { output, start, stop } from "./processes.ts";

/** "two nodes": of Holdfast, with one database and one bucket; "three nodes": a cluster. */
export type ServerName =
  | "holdfast"
  | "two nodes"
  | "three nodes"
  | "distribution"
  | "nginx"
  | "versitygw";

export interface Server {
  readonly name: ServerName;
  readonly version: string;
  readonly port: number;
  /** Of all that work for it, where these are several. */
  readonly pid: Processes;
  /** Where it keeps its content; absolute. */
  readonly data: string;
  /** Its further nodes, where it has any. */
  readonly more?: readonly Server[];
  stop(): Promise<void>;
}

/** All nodes of a server, itself the first. */
export const nodesOf = (server: Server): readonly Server[] => [server, ...(server.more ?? [])];

/** One client of a server; it turns from node to node with every request. */
export const openClient = async (server: Server): Promise<Client> =>
  inTurn(await Promise.all(nodesOf(server).map(({ port }) => Connection.open(port))));

export interface Place {
  /** A directory of the server's own; made if missing. */
  readonly dir: string;
  readonly port: number;
}

const root = resolve(import.meta.dir, "..");

/** What a server needs of the environment, and none of the caller's HOLDFAST_* or REGISTRY_*. */
const environment = (extra: Record<string, string>): Record<string, string | undefined> => ({
  PATH: process.env["PATH"],
  HOME: process.env["HOME"],
  ...extra,
});

/**
 * A copy of an executable in the server's own directory. PSS divides a page by the processes that
 * map it: run from one file, the bench's own Bun would make Holdfast look smaller than it is.
 */
export const ownCopy = (binary: string, dir: string): string => {
  const copy = join(dir, basename(binary));
  if (!existsSync(copy)) copyFileSync(binary, copy);
  return copy;
};

interface Launch extends Place {
  readonly name: ServerName;
  readonly version: string;
  readonly data: string;
  readonly command: readonly string[];
  readonly env: Record<string, string>;
  /** A path that answers 200 once the server is ready. */
  readonly ready: string;
}

/** Else a server of somebody else would be measured. */
const requireFree = async (port: number): Promise<void> => {
  const connection = await Connection.open(port).catch(() => undefined);
  if (connection === undefined) return;
  connection.close();
  throw new Error(`port ${port} is in use: name the first of some free ports with --port`);
};

/** A server of one process, or one that looks after its others. */
export interface Launched extends Server {
  readonly pid: number;
}

/** A cluster's node waits for the others. */
const patience = 60_000;

export const launch = async (options: Launch): Promise<Launched> => {
  const { name, version, port, dir, data } = options;
  await requireFree(port);
  const log = join(dir, "log");
  const child = start(options.command, { cwd: dir, env: environment(options.env), log });
  const deadline = Date.now() + patience;
  for (;;) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop(child);
      const tail = readFileSync(log, "utf8").trim().split("\n").slice(-5).join("\n");
      throw new Error(`${name} does not start: ${tail}`);
    }
    try {
      const connection = await Connection.open(port);
      const { status } = await connection.request({ method: "GET", path: options.ready });
      connection.close();
      if (status === 200) break;
    } catch {
      // not listening yet
    }
    await Bun.sleep(50);
  }
  return { name, version, port, data, pid: child.pid, stop: () => stop(child) };
};

const holdfastMain = join(root, "src/main.ts");

const version = (): string => {
  const parsed = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    version: string;
  };
  return parsed.version;
};

/** Its defaults, but for what keeps it to this machine: the log goes to a file. `env` leads it to other stores. */
export const startHoldfast = async (
  place: Place,
  workers: number,
  env: Readonly<Record<string, string>> = {},
): Promise<Launched> => {
  const data = join(place.dir, "data");
  mkdirSync(place.dir, { recursive: true });
  const listen = `127.0.0.1:${place.port}`;
  const flags = ["--listen", listen, "--data", data, "--workers", String(workers)];
  return launch({
    ...place,
    name: "holdfast",
    version: version(),
    data,
    command: [ownCopy(process.execPath, place.dir), holdfastMain, "serve", ...flags],
    env: { HOLDFAST_METRICS_LISTEN: `127.0.0.1:${place.port + 1}`, ...env },
    ready: "/readyz",
  });
};

/** A program of $HOLDFAST_TOOLS, else one that scripts/setup.sh has built. */
export const toolBinary = (program: string, name: string): string => {
  const folders = [process.env["HOLDFAST_TOOLS"], join(root, ".cache/tools/bin")];
  const found = folders
    .map((folder) => (folder === undefined ? "" : join(folder, program)))
    .find((path) => path !== "" && existsSync(path));
  if (found === undefined)
    throw new Error(
      `${name} is missing: run scripts/setup.sh, or name its folder in HOLDFAST_TOOLS, or use --no-peers`,
    );
  return found;
};

/** `storage` is its driver's part of the configuration; default: files in a folder of its own. */
export const startDistribution = async (place: Place, storage?: string): Promise<Server> => {
  const data = join(place.dir, "data");
  mkdirSync(data, { recursive: true });
  const binary = ownCopy(toolBinary("registry", "distribution 3.1.1"), place.dir);
  const config = join(place.dir, "config.yml");
  writeFileSync(
    config,
    `version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage:
  ${storage ?? `filesystem: { rootdirectory: ${data} }`}
  cache: { blobdescriptor: inmemory }
  delete: { enabled: true }
http: { addr: "127.0.0.1:${place.port}", secret: bench }
`,
  );
  return launch({
    ...place,
    name: "distribution",
    version: (await output([binary, "--version"])).trim().split(" ").at(-1) ?? "",
    data,
    command: [binary, "serve", config],
    env: { OTEL_TRACES_EXPORTER: "none" },
    ready: "/v2/",
  });
};

/** Serves the files of its data folder: the limit of what this machine and client can do. */
export const startNginx = async (place: Place): Promise<Server> => {
  const data = join(place.dir, "data");
  mkdirSync(data, { recursive: true });
  writeFileSync(join(data, "ready"), "ready");
  const config = join(place.dir, "nginx.conf");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${place.dir}/${name};`)
    .join(" ");
  writeFileSync(
    config,
    `daemon off; pid ${place.dir}/pid; worker_processes 2; error_log ${place.dir}/log error;
${process.getuid?.() === 0 ? "user root;" : ""}
events { worker_connections 1024; }
http {
  sendfile on; tcp_nopush on; access_log off; keepalive_requests 100000000; ${temporary}
  server { listen 127.0.0.1:${place.port} reuseport; root ${data}; }
}
`,
  );
  const nginx = Bun.which("nginx") ?? "/usr/sbin/nginx";
  if (!existsSync(nginx))
    throw new Error("nginx is missing: apt-get install nginx-light, or use --no-peers");
  return launch({
    ...place,
    name: "nginx",
    version: /[\d.]+/.exec(await output(["sh", "-c", `${nginx} -v 2>&1`]))?.[0] ?? "",
    data,
    command: [nginx, "-c", config, "-p", place.dir],
    env: {},
    ready: "/ready",
  });
};
