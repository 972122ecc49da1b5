/** A real etcd of the test's own: one member or three, each of which can be killed, frozen and started again. */
import { describe, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { alive, freePort, signal, until } from "./processes.ts";

/** Why no etcd can be started here, with what to do about it; undefined when one can. */
export const etcdObstacle: string | undefined =
  Bun.which("etcd") === null ? "needs etcd: run scripts/setup.sh" : undefined;

export interface EtcdTestOptions {
  /** Default 1. */
  readonly members?: 1 | 3;
  /** Further flags for every member. */
  readonly flags?: readonly string[];
  /** Paths of PEM files: clients come by TLS and show a certificate of this authority. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
}

export interface EtcdMember {
  readonly name: string;
  /** Client URL. */
  readonly endpoint: string;
  /** Absolute path of its data directory. */
  readonly data: string;
  /** Changes with `restart`. */
  readonly pid: number;
  /** Ends it, by SIGTERM unless told otherwise. */
  stop(name?: NodeJS.Signals): Promise<void>;
  /** Starts it again, after `stop` where it runs; resolves when its process is up, not when it has a leader. */
  restart(): Promise<void>;
  signal(name: NodeJS.Signals): void;
}

export interface TestEtcd extends AsyncDisposable {
  readonly endpoints: readonly string[];
  readonly members: readonly EtcdMember[];
  /** The member that leads, once there is one. */
  leader(): Promise<EtcdMember>;
  /** Runs etcdctl and returns what it printed. */
  ctl(...args: readonly string[]): string;
  /** Everything that the members have logged. */
  logs(): string;
}

/** Resolves when every member has a leader; throws with the logs when that does not come. */
export async function startEtcd(options: EtcdTestOptions = {}): Promise<TestEtcd> {
  if (etcdObstacle !== undefined) throw new Error(etcdObstacle);
  const home = mkdtempSync(join(tmpdir(), "holdfast-etcd-"));
  const log = join(home, "log");
  const { tls } = options;
  const scheme = tls === undefined ? "http" : "https";
  const ports = new Set<number>();
  while (ports.size < (options.members ?? 1) * 2) ports.add(freePort());
  const [...free] = ports;
  const plans = Array.from({ length: options.members ?? 1 }, (_, index) => ({
    name: `m${index + 1}`,
    endpoint: `${scheme}://127.0.0.1:${free[2 * index]}`,
    peer: `http://127.0.0.1:${free[2 * index + 1]}`,
  }));
  const security =
    tls === undefined
      ? []
      : [
          `--cert-file=${tls.cert}`,
          `--key-file=${tls.key}`,
          `--trusted-ca-file=${tls.ca}`,
          "--client-cert-auth",
        ];
  const cluster = plans.map(({ name, peer }) => `${name}=${peer}`).join(",");

  const members = plans.map(({ name, endpoint, peer }): EtcdMember => {
    let pid = 0;
    const data = join(home, name);
    const start = () => {
      const out = openSync(log, "a");
      const child = Bun.spawn(
        [
          "etcd",
          `--name=${name}`,
          `--data-dir=${data}`,
          `--initial-cluster=${cluster}`,
          `--listen-client-urls=${endpoint}`,
          `--advertise-client-urls=${endpoint}`,
          `--listen-peer-urls=${peer}`,
          `--initial-advertise-peer-urls=${peer}`,
          "--logger=zap",
          "--log-level=warn",
          "--log-outputs=stderr",
          ...security,
          ...(options.flags ?? []),
        ],
        { stdio: ["ignore", "ignore", out], env: { PATH: process.env["PATH"] ?? "" } },
      );
      closeSync(out);
      pid = child.pid;
    };
    start();
    const stop = async (how: NodeJS.Signals = "SIGTERM") => {
      signal(pid, how);
      if (how !== "SIGKILL") signal(pid, "SIGCONT");
      await until(() => !alive(pid), 10_000, `${name} to end`);
    };
    return {
      name,
      endpoint,
      data,
      get pid() {
        return pid;
      },
      stop,
      async restart() {
        if (alive(pid)) await stop();
        start();
      },
      signal: (how) => signal(pid, how),
    };
  });

  const endpoints = plans.map(({ endpoint }) => endpoint);
  const ctl = (...args: readonly string[]): string => {
    const proof =
      tls === undefined ? [] : ["--cacert", tls.ca, "--cert", tls.cert, "--key", tls.key];
    const done = Bun.spawnSync(
      ["etcdctl", "--endpoints", endpoints.join(","), ...proof, "--command-timeout=2s", ...args],
      {
        stdout: "pipe",
        stderr: "pipe",
        env: { PATH: process.env["PATH"] ?? "", ETCDCTL_API: "3" },
      },
    );
    if (done.exitCode !== 0) throw new Error(done.stderr.toString());
    return done.stdout.toString().trim();
  };
  const statuses = () => {
    try {
      return JSON.parse(ctl("endpoint", "status", "-w", "json")) as Status[];
    } catch {
      return [];
    }
  };
  const leader = (): EtcdMember | undefined => {
    const led = statuses().find(({ Status: s }) => s.leader === s.header.member_id);
    return members.find(({ endpoint }) => endpoint === led?.Endpoint);
  };
  const logs = () => readFileSync(log, "utf8");
  const dispose = async () => {
    await Promise.all(members.map((member) => member.stop("SIGKILL")));
    rmSync(home, { recursive: true, force: true });
  };
  try {
    const ready = () => {
      if (!members.every(({ pid }) => alive(pid))) throw new Error("etcd ended at its start");
      const known = statuses();
      return known.length === members.length && known.every(({ Status: s }) => (s.leader ?? 0) > 0);
    };
    await until(ready, 20_000, "etcd to have a leader");
  } catch (error) {
    const text = logs();
    await dispose();
    throw new Error(`etcd did not come up\n${text}`, { cause: error });
  }
  return {
    endpoints,
    members,
    async leader() {
      let found: EtcdMember | undefined;
      await until(() => (found = leader()) !== undefined, 15_000, "a leader of etcd");
      if (found === undefined) throw new Error("no leader");
      return found;
    },
    ctl,
    logs,
    [Symbol.asyncDispose]: dispose,
  };
}

interface Status {
  readonly Endpoint: string;
  readonly Status: { readonly leader?: number; readonly header: { readonly member_id: number } };
}

/** A `describe` that is skipped, or in CI fails, where there is no etcd. */
export function describeEtcd(title: string, body: () => void): void {
  if (etcdObstacle === undefined) describe(title, body);
  else if (process.env["CI"] === undefined) test.skip(`${title} (${etcdObstacle})`, () => {});
  else
    test(title, () => {
      throw new Error(etcdObstacle);
    });
}
