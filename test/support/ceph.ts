/** A real Ceph for tests, as small as it gets: a monitor, a disk in memory and the S3 gateway before them. */
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool, toolPath } from "../clients/support/tools.ts";
import { freePort, until } from "./processes.ts";
import { answers, createBucket, type S3Server } from "./s3-server.ts";

/** What `startCeph` runs. */
export const CEPH_PROGRAMS = ["ceph", "ceph-mon", "ceph-osd", "radosgw"] as const;

/** For the whole start, on a machine that is busy with others. */
const PATIENCE_MS = 90_000;
/** Ports that the disk chooses its own from. */
const DISK_PORTS = 100;
const LOG_SHOWN = 6000;

export interface Ceph extends S3Server {
  /** Runs `radosgw-admin`. */
  readonly admin: (...args: readonly string[]) => Promise<void>;
}

/** Starts the processes and waits until the gateway answers, about 6 s; throws with their logs when it does not. */
export async function startCeph(): Promise<Ceph> {
  const missing = CEPH_PROGRAMS.filter((name) => findTool(name) === undefined);
  if (missing.length > 0) throw new Error(`needs ${missing.join(", ")}: run scripts/setup.sh`);
  const home = mkdtempSync(join(tmpdir(), "holdfast-ceph-"));
  const cluster = new Cluster(home);
  const [accessKeyId, secretAccessKey] = ["holdfast-test", "holdfast-test-secret"];
  const port = freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const admin = (...args: readonly string[]): Promise<void> =>
    cluster.finish("radosgw-admin", ...args);

  const bringUp = async (): Promise<number> => {
    configure(home, port);
    await cluster.finish("ceph-mon", "--mkfs", "-i", "a");
    cluster.serve("ceph-mon", "-i", "a");
    const disk = crypto.randomUUID();
    await cluster.finish("ceph", "osd", "new", disk, "0");
    await cluster.finish("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", disk);
    cluster.serve("ceph-osd", "-i", "0");
    const keys = [`--access-key=${accessKeyId}`, `--secret-key=${secretAccessKey}`];
    await admin("user", "create", "--uid=test", "--display-name=test", ...keys);
    const gateway = cluster.serve("radosgw", "-n", "client.admin");
    await until(() => answers(endpoint), PATIENCE_MS, "radosgw to answer");
    return gateway;
  };
  const late = setTimeout(() => cluster.fail(`not up within ${PATIENCE_MS} ms`), PATIENCE_MS);
  try {
    const pid = await Promise.race([bringUp(), cluster.broken]);
    const server = { endpoint, accessKeyId, secretAccessKey };
    return {
      ...server,
      pid,
      admin,
      createBucket: (name) => createBucket(server, name),
      [Symbol.asyncDispose]: () => cluster.end(),
    };
  } catch (error) {
    const said = cluster.said();
    await cluster.end();
    throw new Error(`Ceph did not come up: ${String(error)}\n--- its processes\n${said}`, {
      cause: error,
    });
  } finally {
    clearTimeout(late);
  }
}

/** The processes of one `ceph.conf`. */
class Cluster {
  readonly #home: string;
  readonly #log: string;
  readonly #children: Bun.Subprocess[] = [];
  readonly #broken = Promise.withResolvers<never>();

  constructor(home: string) {
    this.#home = home;
    this.#log = join(home, "log");
    // Who does not wait for it has nothing to hear.
    this.#broken.promise.catch(() => {});
  }

  /** Rejects when a process ends that is to serve, or on `fail`. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  fail(why: string): void {
    this.#broken.reject(new Error(why));
  }

  /** The last of what the processes have written. */
  said(): string {
    return readFileSync(this.#log, { encoding: "utf8", flag: "a+" }).slice(-LOG_SHOWN);
  }

  /** Runs a program to its end. */
  async finish(program: string, ...args: readonly string[]): Promise<void> {
    const code = await this.#spawn(program, args).exited;
    if (code !== 0) throw new Error(`${program} ${args[0]} ended with ${code}\n${this.said()}`);
  }

  /** Starts a program that is to go on; its process id. */
  serve(program: string, ...args: readonly string[]): number {
    const child = this.#spawn(program, ["-f", ...args]);
    void child.exited.then((code) => this.fail(`${program} ended with ${code}`));
    return child.pid;
  }

  async end(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await Promise.all(this.#children.map((child) => child.exited));
    await rm(this.#home, { recursive: true, force: true });
  }

  #spawn(program: string, args: readonly string[]): Bun.Subprocess {
    const out = openSync(this.#log, "a");
    // A runner that is killed takes its servers with it.
    const tied = Bun.which("setpriv") ? ["setpriv", "--pdeathsig", "KILL"] : [];
    const configuration = join(this.#home, "ceph.conf");
    const child = Bun.spawn(
      [...tied, findTool(program) ?? program, "--conf", configuration, ...args],
      { cwd: this.#home, stdio: ["ignore", out, out], env: { PATH: toolPath, LANG: "C.UTF-8" } },
    );
    closeSync(out);
    this.#children.push(child);
    return child;
  }
}

/** One copy of everything, kept in memory; nothing outside of `home` is read or written. */
function configure(home: string, port: number): void {
  const [monitor, disk] = [freePort(), freePort()];
  for (const folder of ["mon", "osd"]) mkdirSync(join(home, folder));
  writeFileSync(join(home, "keyring"), keyring());
  writeFileSync(
    join(home, "ceph.conf"),
    `
[global]
fsid = ${crypto.randomUUID()}
mon host = v2:127.0.0.1:${monitor}
keyring = ${home}/keyring
run dir = ${home}
admin socket =
log file = /dev/null
mon cluster log file = /dev/null
ms bind msgr1 = false
mon data = ${home}/mon
mon allow pool size one = true
paxos propose interval = 0.05
paxos min wait = 0.01
[osd]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = ${disk}
ms bind port max = ${disk + DISK_PORTS}
osd data = ${home}/osd
osd objectstore = memstore
memstore device bytes = ${4 * 2 ** 30}
osd crush chooseleaf type = 0
[mon]
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 2
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
[client]
rgw frontends = beast endpoint=127.0.0.1:${port}
`,
  );
}

/** One key for all: type 1 (AES), its time, 16 bytes. */
function keyring(): string {
  const key = Buffer.alloc(28);
  key.writeUInt16LE(1, 0);
  key.writeUInt32LE(Math.floor(Date.now() / 1000), 2);
  key.writeUInt16LE(16, 10);
  crypto.getRandomValues(key.subarray(12));
  return ["mon.", "client.admin", "osd.0"]
    .map(
      (name) =>
        `[${name}]\nkey = ${key.toString("base64")}\ncaps mon = "allow *"\ncaps osd = "allow *"\n`,
    )
    .join("");
}
