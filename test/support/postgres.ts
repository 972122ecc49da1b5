/** A real PostgreSQL of the test's own: start, stop, kill, freeze, and copies of it as standbys. */
import { describe, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { alive, descendants, freePort, signal, until } from "./processes.ts";

const PROGRAMS = "/usr/lib/postgresql";
const VERSION = [...new Bun.Glob("*/bin/initdb").scanSync(PROGRAMS)]
  .map((path) => Number.parseInt(path, 10))
  .sort((a, b) => b - a)[0];

/** Why no server can be started here, with what to do about it; undefined when one can. */
export const postgresObstacle: string | undefined =
  VERSION === undefined ? "needs PostgreSQL: run scripts/setup.sh" : undefined;

/** A `describe` for tests that need a server: skipped with the remedy where there is none, failed in CI. */
export function describePostgres(title: string, body: () => void): void {
  if (postgresObstacle === undefined) describe(title, body);
  else if (process.env["CI"] === undefined) test.skip(`${title} (${postgresObstacle})`, () => {});
  else
    test(title, () => {
      throw new Error(postgresObstacle);
    });
}

export interface PostgresOptions {
  readonly port?: number;
  /** Lines for postgresql.conf. fsync stays on unless a line says otherwise. */
  readonly settings?: readonly string[];
  /** Lines for pg_hba.conf, before those that trust everybody from this machine. */
  readonly access?: readonly string[];
  /** Start as a standby that follows this server, which must be running. */
  readonly standbyOf?: TestPostgres;
  /** Name of the standby, as `synchronous_standby_names` of the other server has it. */
  readonly name?: string;
  /** Encoding of the databases; default UTF8. */
  readonly encoding?: string;
  /** Directory for the data, which must exist; default a new one below the system's temporary directory. */
  readonly directory?: string;
}

/** What `openPostgres` takes to come here. */
export interface Place {
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  readonly user: string;
  readonly database: string;
}

export interface TestPostgres extends AsyncDisposable {
  /** Superuser `postgres`, database `postgres`, no password. */
  readonly url: string;
  readonly port: number;
  /** The postmaster; changes with `start`. */
  readonly pid: number;
  /** Absolute path of the data directory. */
  readonly data: string;
  urlOf(database: string, user?: string): string;
  /** Superuser, database `postgres`. */
  readonly place: Place;
  /** Runs psql as superuser and returns what it printed, unaligned and without headings. */
  sql(text: string, database?: string): string;
  /** Everything the server has logged. */
  logs(): string;
  /** Starts what `stop` or `kill` has ended; resolves when it answers. */
  start(): Promise<void>;
  /** Fast shutdown: ends sessions, writes a checkpoint. */
  stop(): Promise<void>;
  /** SIGKILL to the postmaster and all its children. */
  kill(): Promise<void>;
  /** SIGSTOP to all processes: connections are accepted by the kernel and nothing answers. */
  freeze(): void;
  thaw(): void;
  /** Makes a standby a primary; resolves when it takes writes. */
  promote(): Promise<void>;
}

/** Throws with the server's log when it does not come up. */
export async function startPostgres(options: PostgresOptions = {}): Promise<TestPostgres> {
  if (postgresObstacle !== undefined) throw new Error(postgresObstacle);
  const home = options.directory ?? mkdtempSync(join(tmpdir(), "holdfast-postgres-"));
  try {
    return await startIn(home, options);
  } catch (error) {
    if (options.directory === undefined) rmSync(home, { recursive: true, force: true });
    throw error;
  }
}

async function startIn(home: string, options: PostgresOptions): Promise<TestPostgres> {
  const data = join(home, "data");
  const log = join(home, "log");
  const port = options.port ?? freePort();
  if (process.getuid?.() === 0) await run(["chown", "postgres:", home]);
  chmodSync(home, 0o700);

  const { standbyOf } = options;
  if (standbyOf === undefined) {
    const encoding = options.encoding ?? "UTF8";
    await run(
      tool("initdb", [
        "-D",
        data,
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        encoding,
        "--no-sync",
        "--locale=C",
      ]),
    );
    await prepend(join(data, "pg_hba.conf"), options.access ?? []);
  } else {
    const name = options.name ?? "standby";
    const from = `host=127.0.0.1 port=${standbyOf.port} user=postgres application_name=${name}`;
    await run(tool("pg_basebackup", ["-D", data, "-d", from, "-R", "-X", "stream", "-c", "fast"]));
  }
  const settings = [
    `port = ${port}`,
    "listen_addresses = '127.0.0.1'",
    `unix_socket_directories = '${home}'`,
    "shared_buffers = 64MB",
    ...(options.settings ?? []),
  ];
  const configuration = join(data, "postgresql.conf");
  await Bun.write(
    configuration,
    `${readFileSync(configuration, "utf8")}\n${settings.join("\n")}\n`,
  );

  let pid = 0;
  const logs = (): string => readFileSync(log, "utf8");
  const urlOf = (database: string, user = "postgres"): string =>
    `postgres://${user}@127.0.0.1:${port}/${database}`;
  const psql = (text: string, database: string) =>
    Bun.spawnSync(
      [bin("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", urlOf(database), "-c", text],
      { stdout: "pipe", stderr: "pipe", env: { ...process.env, PGCONNECT_TIMEOUT: "2" } },
    );
  const sql = (text: string, database = "postgres"): string => {
    const done = psql(text, database);
    if (done.exitCode !== 0) throw new Error(done.stderr.toString());
    return done.stdout.toString().trim();
  };
  const all = (): number[] => [pid, ...descendants(pid)];
  const start = async (): Promise<void> => {
    const child = Bun.spawn(
      ["sh", "-c", `exec "$@" >>'${log}' 2>&1`, "sh", ...tool("postgres", ["-D", data])],
      {
        cwd: home,
        stdio: ["ignore", "ignore", "ignore"],
      },
    );
    pid = child.pid;
    const up = () => {
      if (!alive(pid)) throw new Error(`PostgreSQL ended at its start\n${logs()}`);
      return psql("SELECT 1", "postgres").exitCode === 0;
    };
    await until(up, 30_000, "PostgreSQL to answer");
  };
  const ended = (pids: readonly number[]) =>
    until(() => !pids.some(alive), 20_000, "PostgreSQL's processes to end");
  const kill = async (): Promise<void> => {
    const pids = all();
    for (const id of pids) signal(id, "SIGKILL");
    await ended(pids);
  };
  await start();
  return {
    url: urlOf("postgres"),
    port,
    get pid() {
      return pid;
    },
    data,
    urlOf,
    place: { hosts: [{ host: "127.0.0.1", port }], user: "postgres", database: "postgres" },
    sql,
    logs,
    start,
    async stop() {
      const pids = all();
      signal(pid, "SIGINT");
      await ended(pids);
    },
    kill,
    freeze() {
      for (const id of all()) signal(id, "SIGSTOP");
    },
    thaw() {
      for (const id of all().reverse()) signal(id, "SIGCONT");
    },
    async promote() {
      sql("SELECT pg_promote(true, 30)");
      await until(
        () => sql("SELECT pg_is_in_recovery()") === "f",
        10_000,
        "the standby to be a primary",
      );
    },
    async [Symbol.asyncDispose]() {
      await kill();
      if (options.directory === undefined) rmSync(home, { recursive: true, force: true });
    },
  };
}

function bin(program: string): string {
  return `${PROGRAMS}/${VERSION}/bin/${program}`;
}

/** PostgreSQL refuses to run as root. */
function tool(program: string, args: readonly string[]): string[] {
  const user =
    process.getuid?.() === 0
      ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
      : [];
  return [...user, bin(program), ...args];
}

async function run(command: readonly string[]): Promise<void> {
  const child = Bun.spawn([...command], { cwd: "/", stdio: ["ignore", "pipe", "pipe"] });
  const [code, ...output] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}\n${output.join("\n")}`);
}

async function prepend(path: string, lines: readonly string[]): Promise<void> {
  const text = readFileSync(path, "utf8");
  await Bun.write(path, [...lines, text].join("\n"));
}
