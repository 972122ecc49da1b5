import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Helper } from "../bench.ts";
import { output, start } from "../processes.ts";
import { launch, toolBinary } from "../servers.ts";

/** What Holdfast's nodes and distribution keep their things in, with the fsyncs that these do by themselves. */
export interface SharedStores {
  readonly helpers: readonly (Helper & { readonly version: string })[];
  /** Of the S3 server. */
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Makes a database; resolves to its URL. */
  createDatabase(name: string): Promise<string>;
  createBucket(name: string): void;
}

const programs = "/usr/lib/postgresql";

const newestPostgres = (): string => {
  const versions = existsSync(programs) ? readdirSync(programs) : [];
  const newest = versions.toSorted((a, b) => Number(a) - Number(b)).at(-1);
  if (newest === undefined) throw new Error("PostgreSQL is missing: apt-get install postgresql");
  return join(programs, newest, "bin");
};

/** PostgreSQL refuses to run as root. */
const asPostgres =
  process.getuid?.() === 0
    ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    : [];

const startPostgres = async (
  dir: string,
  port: number,
): Promise<{ helper: SharedStores["helpers"][number]; create: SharedStores["createDatabase"] }> => {
  const bin = newestPostgres();
  const data = join(dir, "data");
  mkdirSync(dir);
  // The folder of all servers is closed to other users, and the one of the database its own.
  chmodSync(join(dir, ".."), 0o711);
  if (asPostgres.length > 0) await output(["chown", "postgres:", dir]);
  const encoding = ["--encoding=UTF8", "--locale=C"];
  await output([
    ...asPostgres,
    join(bin, "initdb"),
    "--username=postgres",
    "--auth=trust",
    ...encoding,
    data,
  ]);
  const settings = [`port=${port}`, "listen_addresses=127.0.0.1", `unix_socket_directories=${dir}`];
  const log = join(dir, "..", "postgres.log");
  const command = [join(bin, "postgres"), "-D", data, ...settings.flatMap((set) => ["-c", set])];
  const child = start([...asPostgres, ...command], { cwd: "/", log });
  const psql = async (text: string): Promise<string> => {
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
    return (await output([join(bin, "psql"), "-XAtq", "-d", url, "-c", text])).trim();
  };
  const deadline = Date.now() + 20_000;
  for (;;) {
    try {
      await psql("SELECT 1");
      break;
    } catch (error) {
      if (child.exitCode !== null || Date.now() > deadline)
        throw new Error(`PostgreSQL does not start: ${readFileSync(log, "utf8")}`, {
          cause: error,
        });
      await Bun.sleep(100);
    }
  }
  return {
    helper: { name: "postgres", pid: child.pid, version: await psql("SHOW server_version") },
    create: async (name) => {
      await psql(`CREATE DATABASE ${name}`);
      return `postgres://postgres@127.0.0.1:${port}/${name}`;
    },
  };
};

/** It does not know its own version when it was built by `go install`; the binary does. */
const moduleVersion = async (binary: string): Promise<string> => {
  const go = Bun.which("go");
  if (go === null) return "unknown";
  const text = await output([go, "version", "-m", binary]);
  return /^\tmod\t\S+\t(\S+)/m.exec(text)?.[1] ?? "unknown";
};

/** Both, below `dir`; on `port` and `port + 2`. */
export const startStores = async (dir: string, port: number): Promise<SharedStores> => {
  const { helper, create } = await startPostgres(join(dir, "postgres"), port);
  const place = { dir: join(dir, "versitygw"), port: port + 2 };
  const objects = join(place.dir, "objects");
  mkdirSync(objects, { recursive: true });
  const binary = toolBinary("versitygw", "versitygw");
  const [accessKeyId, secretAccessKey] = ["holdfast-bench", "holdfast-bench-secret"];
  const listen = ["--port", `127.0.0.1:${place.port}`, "--health", "/health"];
  const access = ["--access", accessKeyId, "--secret", secretAccessKey];
  const gateway = await launch({
    ...place,
    name: "versitygw",
    version: await moduleVersion(binary),
    data: objects,
    command: [binary, ...listen, ...access, "--keep-alive", "--quiet", "posix", objects],
    env: {},
    ready: "/health",
  });
  return {
    helpers: [gateway, helper],
    endpoint: `http://127.0.0.1:${place.port}`,
    accessKeyId,
    secretAccessKey,
    createDatabase: create,
    // Its buckets are folders.
    createBucket: (name) => mkdirSync(join(objects, name)),
  };
};
