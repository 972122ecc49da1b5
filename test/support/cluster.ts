/**
 * A real cluster on this machine: each node a `holdfast serve` with its own etcd and data directory. Peers know each by
 * a loopback address of its own, with the same ports on all of them, as machines have it.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterStatus } from "../../src/app/cluster-status.ts";
import { alive, BUN, descendants, freePort, MAIN, signal, until } from "./processes.ts";

export interface ClusterOptions {
  /** Default 3. */
  readonly nodes?: number;
  /** Of each node; default 2. */
  readonly workers?: number;
  /** Added to the configuration of every node, below `cluster`. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Added to the environment of every node, or of the node of a name. */
  readonly env?: Environment | ((name: string) => Environment);
  /** Bytes of the disk that each node has for itself (a tmpfs, which needs root); default: it shares this machine's. */
  readonly disk?: number;
  /** Called with the nodes before any is started. */
  readonly prepare?: (nodes: readonly TestNode[]) => void;
  /** Starts the nodes; default all at once. */
  readonly begin?: (nodes: readonly TestNode[]) => Promise<void>;
  /** Where the nodes run, one for each; default: loopback addresses of this machine. */
  readonly hosts?: readonly Host[];
}

type Environment = Readonly<Record<string, string>>;

/** What a node takes for a machine. */
export interface Host {
  /** IPv4, of its own. */
  readonly address: string;
  /** What has a command run there: `[...prefix, program, ...arguments]`, in the process that is started. */
  readonly prefix: readonly string[];
}

export interface TestNode {
  readonly name: string;
  /** Of the registry. */
  readonly url: string;
  readonly port: number;
  readonly data: string;
  /** The parent process; changes with each start. */
  readonly pid: number;
  readonly isRunning: boolean;
  /** Starts it; does not wait until it is ready. */
  start(): void;
  /** Resolves when `/readyz` answers 200. */
  ready(patience?: number): Promise<void>;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<void>;
  /** SIGKILL to the whole node at once, its etcd included: the machine dies. */
  kill(): Promise<void>;
  /** Sends a signal to all its processes. */
  signal(name: NodeJS.Signals): void;
  /** Empties its disk; only while it does not run. */
  wipe(): void;
  /** All it has logged, over all starts. */
  logs(): string;
  status(): Promise<ClusterStatus>;
  /** What `holdfast` prints for this node's data directory. Throws with it where it does not end with 0. */
  command(...words: string[]): Promise<string>;
}

export interface TestCluster extends AsyncDisposable {
  readonly nodes: readonly TestNode[];
  /** A further node, which joins by the first two. */
  add(): TestNode;
  /** Resolves when no blob has fewer copies than it should, as a living node says. */
  healed(patience?: number): Promise<void>;
  logs(): string;
}

const PEER_PORT = 5080;
const READY_MS = 60_000;

/** Starts the nodes and resolves when all are ready; throws with their logs. */
export async function startCluster(options: ClusterOptions = {}): Promise<TestCluster> {
  const home = mkdtempSync(join(tmpdir(), "holdfast-cluster-"));
  const net = `127.${1 + Math.floor(Math.random() * 250)}.${Math.floor(Math.random() * 250)}`;
  const secret = join(home, "secret");
  await Bun.write(secret, "a secret of these tests, long enough to be one");
  const nodes: TestNode[] = [];
  const address = (n: number) => options.hosts?.[n - 1]?.address ?? `${net}.${n}`;
  const seeds = Array.from({ length: options.nodes ?? 3 }, (_, i) => i + 1);
  const members = Object.fromEntries(seeds.map((n) => [`n${n}`, `${address(n)}:${PEER_PORT}`]));

  const make = (n: number, place: object): TestNode => {
    const port = freePort();
    const host = options.hosts?.[n - 1] ?? { address: "127.0.0.1", prefix: [] };
    const node = newNode({
      name: `n${n}`,
      host,
      port,
      home,
      config: {
        listen: `${host.address}:${port}`,
        metrics: { listen: "off" },
        auth: { anonymous: ["pull", "push", "delete"] },
        cluster: {
          node: `n${n}`,
          secretFile: secret,
          listen: `${address(n)}:${PEER_PORT}`,
          ...place,
          ...options.settings,
        },
      },
      env: {
        HOLDFAST_WORKERS: String(options.workers ?? 2),
        ...(typeof options.env === "function" ? options.env(`n${n}`) : options.env),
      },
    });
    if (options.disk !== undefined) mountDisk(node.data, options.disk);
    nodes.push(node);
    return node;
  };
  for (const n of seeds) make(n, { members });

  const logs = () => nodes.map((node) => `--- ${node.name}\n${node.logs()}`).join("\n");
  const cluster: TestCluster = {
    nodes,
    add() {
      const n = nodes.length + 1;
      const join = seeds.slice(0, 2).map((seed) => members[`n${seed}`]);
      const node = make(n, { join, address: `${address(n)}:${PEER_PORT}` });
      node.start();
      return node;
    },
    async healed(patience = 60_000) {
      let status: ClusterStatus | undefined;
      const isHealed = async () => {
        try {
          status = await nodes.find(({ isRunning }) => isRunning)?.status();
          return status?.healing.underReplicated === 0;
        } catch {
          // It is just starting, or has no quorum.
          return false;
        }
      };
      try {
        await until(isHealed, patience, "every blob to have its copies");
      } catch (error) {
        throw new Error(`${String(error)}\n${JSON.stringify(status)}`, { cause: error });
      }
    },
    logs,
    async [Symbol.asyncDispose]() {
      try {
        await Promise.all(nodes.filter(({ isRunning }) => isRunning).map((node) => node.stop()));
      } finally {
        await Promise.all(nodes.map((node) => node.kill()));
        remove();
      }
    },
  };
  const remove = () => {
    if (options.disk !== undefined)
      for (const { data } of nodes) Bun.spawnSync(["umount", "--lazy", data]);
    rmSync(home, { recursive: true, force: true });
  };
  try {
    options.prepare?.(nodes);
    if (options.begin === undefined) for (const node of nodes) node.start();
    else await options.begin(nodes);
    await Promise.all(nodes.map((node) => node.ready()));
  } catch (error) {
    const text = logs();
    await Promise.allSettled(nodes.map((node) => node.kill()));
    remove();
    throw new Error(`${String(error)}\n${text}`, { cause: error });
  }
  return cluster;
}

interface NodePlan {
  readonly name: string;
  readonly host: Host;
  readonly port: number;
  readonly home: string;
  readonly config: object;
  readonly env: Environment;
}

function mountDisk(path: string, bytes: number): void {
  mkdirSync(path);
  const words = ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", path];
  const { exitCode, stderr } = Bun.spawnSync(["mount", ...words]);
  if (exitCode !== 0) throw new Error(`mount ${words.join(" ")}: ${stderr.toString()}`);
}

function newNode({ name, host, port, home, config, env }: NodePlan): TestNode {
  const data = join(home, name);
  const file = join(home, `${name}.yml`);
  const log = join(home, `${name}.log`);
  const url = `http://${host.address}:${port}`;
  let child: Bun.Subprocess | undefined;
  const isRunning = () =>
    child !== undefined && child.exitCode === null && child.signalCode === null;
  const processes = () => (child && isRunning() ? [child.pid, ...descendants(child.pid)] : []);
  return {
    name,
    url,
    port,
    data,
    get pid() {
      return child?.pid ?? 0;
    },
    get isRunning() {
      return isRunning();
    },
    start() {
      // JSON is YAML.
      writeFileSync(file, JSON.stringify(config));
      const sink = openSync(log, "a");
      child = Bun.spawn([...host.prefix, BUN, MAIN, "serve", "--config", file, "--data", data], {
        stdio: ["ignore", sink, sink],
        env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", ...env },
      });
      closeSync(sink);
    },
    async ready(patience = READY_MS) {
      const isReady = async () => {
        if (!isRunning()) throw new Error(`${name} has ended`);
        const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) }).catch(
          () => undefined,
        );
        await answer?.body?.cancel();
        return answer?.ok === true;
      };
      await until(isReady, patience, `${name} to be ready`);
    },
    async stop() {
      child?.kill("SIGTERM");
      const code = await Promise.race([child?.exited, Bun.sleep(40_000).then(() => "hang")]);
      if (code !== 0) throw new Error(`${name} ended with ${String(code)}`);
    },
    async kill() {
      const all = processes();
      for (const pid of all) signal(pid, "SIGKILL");
      await child?.exited;
      await until(() => !all.some(alive), 5000, `the processes of ${name} to end`);
    },
    signal(how) {
      for (const pid of processes()) signal(pid, how);
    },
    wipe() {
      if (isRunning()) throw new Error(`${name} runs`);
      // The directory itself may be where a disk is mounted.
      if (!existsSync(data)) return;
      for (const name of readdirSync(data))
        rmSync(join(data, name), { recursive: true, force: true });
    },
    logs() {
      try {
        return readFileSync(log, "utf8");
      } catch {
        return "";
      }
    },
    async status() {
      const answer = await fetch("http://holdfast/cluster/status", {
        unix: join(data, "admin.sock"),
        signal: AbortSignal.timeout(5000),
      });
      return (await answer.json()) as ClusterStatus;
    },
    async command(...words) {
      const done = Bun.spawn([BUN, MAIN, ...words, "--data", data], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      const [out, err] = await Promise.all([done.stdout.text(), done.stderr.text()]);
      if ((await done.exited) === 0) return out;
      throw new Error(`holdfast ${words.join(" ")} ended with ${done.exitCode}: ${out}${err}`);
    },
  };
}
