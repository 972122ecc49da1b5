/** What happens to nodes, their disks, links and clocks, drawn from a seed. */
import { readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestCluster, TestNode } from "../../support/cluster.ts";
import { descendants, signal, until } from "../../support/processes.ts";
import type { Random } from "../../support/random.ts";
import { leaderOf } from "./leader.ts";
import type { Network } from "./network.ts";

/** A node is as it should be so soon after what befell it is over. */
const BACK_MS = 90_000;
/** What a node is left with whose disk is nearly full. */
const NEARLY_FULL = 120 * 2 ** 20;
/** So long a disk that is to be wiped is waited for, before something else is done. */
const HEALED_MS = 15_000;
const HOUR_S = 3600;

export interface Fault {
  readonly kind: FaultKind;
  readonly node: TestNode;
  readonly began: number;
  /** When it was undone; `Infinity` until then. */
  undone: number;
  /** When the node was ready again. */
  over: number;
  /** While it lasts its node cannot be expected to answer. */
  readonly isLost: boolean;
}

export interface NemesisOptions {
  readonly cluster: TestCluster;
  readonly network: Network;
  readonly random: Random;
  /** Seconds by which the clock of a node is wrong from now on. */
  readonly setClock: (node: TestNode, seconds: number) => void;
  readonly say: (what: string) => void;
}

/** What befalls a node, and what undoes it. */
type Befall = (nemesis: Nemesis, node: TestNode) => Promise<void>;

const away =
  (down: (node: TestNode, nemesis: Nemesis) => Promise<void>): Befall =>
  async (nemesis, node) => {
    await down(node, nemesis);
    await nemesis.wait(8000);
    node.start();
  };
const cut =
  (directions: readonly ("in" | "out")[], isWhole: boolean): Befall =>
  async (nemesis, node) => {
    const { network, random } = nemesis.options;
    const others = nemesis.nodes.filter((other) => other !== node);
    for (const other of isWhole ? others : [random.pick(others)]) {
      const [a, b] = [nemesis.nodes.indexOf(node), nemesis.nodes.indexOf(other)];
      if (directions.includes("out")) network.lose(a, b);
      if (directions.includes("in")) network.lose(b, a);
    }
    await nemesis.wait(20_000);
    network.heal();
  };
const clock =
  (most: number, isRestarted: boolean): Befall =>
  async (nemesis, node) => {
    const { random, setClock } = nemesis.options;
    setClock(node, random.chance(0.5) ? most : -most);
    if (isRestarted) {
      await node.kill();
      node.start();
    }
    await nemesis.wait(15_000);
    setClock(node, 0);
  };
const fill =
  (left: number): Befall =>
  async (nemesis, node) => {
    const filler = join(node.data, "filler");
    const { bavail, bsize } = statfsSync(node.data);
    const size = Math.max(0, bavail * bsize - left);
    // The last bytes as well.
    const words = ["fallocate", "--length", String(Math.max(4096, size - (size % 4096))), filler];
    Bun.spawnSync(words);
    await nemesis.wait(15_000);
    rmSync(filler, { force: true });
  };

const FAULTS = {
  kill: { isLost: true, befall: away((node) => node.kill()) },
  stop: { isLost: true, befall: away((node) => node.stop()) },
  parent: {
    isLost: true,
    befall: away(async (node, nemesis) => {
      nemesis.orphans.push(...descendants(node.pid));
      signal(node.pid, "SIGKILL");
      await until(() => !node.isRunning, 5000, "a parent to end");
    }),
  },
  wipe: {
    isLost: true,
    befall: away(async (node) => {
      await node.kill();
      node.wipe();
    }),
  },
  worker: {
    isLost: false,
    befall: async ({ options: { random } }, node) => {
      // A worker that dies while its node still starts ends it.
      await until(() => hasStarted(node), BACK_MS, `${node.name} to have started`);
      const workers = descendants(node.pid).filter((pid) => !isEtcd(pid));
      if (workers.length > 0) signal(random.pick(workers), "SIGKILL");
    },
  },
  etcd: {
    isLost: false,
    befall: async (_, node) => {
      for (const pid of descendants(node.pid)) if (isEtcd(pid)) signal(pid, "SIGKILL");
    },
  },
  freeze: {
    isLost: true,
    befall: async (nemesis, node) => {
      node.signal("SIGSTOP");
      await nemesis.wait(12_000);
      node.signal("SIGCONT");
    },
  },
  link: { isLost: false, befall: cut(["in", "out"], false) },
  oneway: { isLost: false, befall: cut(["in"], false) },
  isolate: { isLost: true, befall: cut(["in", "out"], true) },
  deaf: { isLost: true, befall: cut(["in"], true) },
  mute: { isLost: true, befall: cut(["out"], true) },
  seconds: { isLost: false, befall: clock(5, false) },
  hour: { isLost: true, befall: clock(HOUR_S, false) },
  hourkill: { isLost: true, befall: clock(HOUR_S, true) },
  full: { isLost: true, befall: fill(0) },
  nearly: { isLost: false, befall: fill(NEARLY_FULL) },
} as const satisfies { readonly [kind: string]: { isLost: boolean; befall: Befall } };

export type FaultKind = keyof typeof FAULTS;

/** May come to another node beside any other fault: a majority stays. */
const MILD: readonly FaultKind[] = ["worker", "seconds", "nearly"];

export class Nemesis {
  readonly options: NemesisOptions;
  readonly faults: Fault[] = [];
  /** Processes whose parent was killed alone. */
  readonly orphans: number[] = [];
  readonly #kinds: readonly FaultKind[];

  /** `only`: kinds, with commas between them; default all. */
  constructor(options: NemesisOptions, only?: string) {
    this.options = options;
    const kinds = Object.keys(FAULTS) as FaultKind[];
    this.#kinds =
      only === undefined ? kinds : kinds.filter((kind) => only.split(",").includes(kind));
  }

  get nodes(): readonly TestNode[] {
    return this.options.cluster.nodes;
  }

  /** Up to so many milliseconds, mostly a few. */
  wait(most: number): Promise<void> {
    const { random } = this.options;
    const part = random.chance(0.5) ? random.int(1000) / 4000 : random.int(1000) / 1000;
    return Bun.sleep(200 + most * part);
  }

  /** Whether a node is in such trouble that it may not answer as it should. */
  isLost(node: TestNode, moment: number = performance.now()): boolean {
    return this.faults.some(
      (fault) =>
        fault.isLost && fault.node === node && fault.began <= moment && moment <= fault.over,
    );
  }

  async run(ms: number): Promise<void> {
    const { random, cluster } = this.options;
    const end = performance.now() + ms;
    // Every kind in turn, in a new order each time.
    let kinds: FaultKind[] = [];
    while (performance.now() < end) {
      await this.wait(4000);
      if (kinds.length === 0) kinds = random.shuffled(this.#kinds);
      const kind = kinds.pop() ?? "kill";
      const drawn = random.pick(this.nodes);
      const second = random.chance(0.25) ? random.pick(MILD) : undefined;
      if (kind === "wipe" && !(await this.#isHealed())) {
        // Later: meanwhile something else may happen.
        kinds.unshift(kind);
        if (kinds.length > 1) continue;
        await cluster.healed(BACK_MS);
      }
      const node = kind === "etcd" && random.chance(0.8) ? await leaderOf(cluster) : drawn;
      const other = random.pick(this.nodes.filter((one) => one !== node));
      await Promise.all([
        this.#befall(kind, node),
        second !== undefined && second !== kind && this.#befall(second, other),
      ]);
    }
  }

  async #votes(node: TestNode): Promise<boolean> {
    const { voters, votersLive } = (await node.status().catch(() => undefined))?.quorum ?? {};
    return voters === this.nodes.length && votersLive === voters;
  }

  async #isHealed(): Promise<boolean> {
    const { cluster, say } = this.options;
    try {
      await cluster.healed(HEALED_MS);
      return true;
    } catch (error) {
      say(`no disk is wiped yet: ${String(error)}`);
      return false;
    }
  }

  async #befall(kind: FaultKind, node: TestNode): Promise<void> {
    const { befall, isLost } = FAULTS[kind];
    const began = performance.now();
    const fault: Fault = { kind, node, began, undone: Infinity, over: Infinity, isLost };
    this.faults.push(fault);
    this.options.say(`${kind} ${node.name}`);
    await befall(this, node);
    fault.undone = performance.now();
    this.options.say(`${kind} ${node.name} undone`);
    await node.ready(BACK_MS);
    // A second etcd that is away is the majority.
    await until(() => this.#votes(node), BACK_MS, `all voters to live after ${kind} ${node.name}`);
    fault.over = performance.now();
    this.options.say(`${kind} ${node.name} over`);
  }

  /** Ends what may still run of nodes whose parent was killed. */
  [Symbol.dispose](): void {
    for (const pid of this.orphans) if (isOurs(pid)) signal(pid, "SIGKILL");
  }
}

function hasStarted(node: TestNode): boolean {
  const lines = node.logs();
  return lines.lastIndexOf('"message":"ready"') > lines.lastIndexOf('"message":"starting"');
}

function isEtcd(pid: number): boolean {
  return /^[^\0]*etcd\0/.test(commandOf(pid));
}

function isOurs(pid: number): boolean {
  return /holdfast-cluster-|main\.ts\0worker\0/.test(commandOf(pid));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

/** What has a node tell the time of a file's number of seconds too late or too early: a program to load before it. */
export function writeClock(
  directory: string,
  name: string,
): { readonly program: string; set(seconds: number): void } {
  const file = join(directory, `${name}.seconds`);
  const program = join(directory, `${name}.clock.ts`);
  writeFileSync(file, "0");
  writeFileSync(
    program,
    `import { readFileSync } from "node:fs";
const Real = Date;
let [skew, looked] = [0, -Infinity];
const now = () => {
  const real = Real.now();
  if (real - looked > 100) [skew, looked] = [Number(readFileSync(${JSON.stringify(file)}, "utf8")) * 1000, real];
  return real + skew;
};
globalThis.Date = class extends Real {
  constructor(...given) {
    if (given.length === 0) super(now());
    else super(...given);
  }
  static now() {
    return now();
  }
};
`,
  );
  return { program, set: (seconds) => writeFileSync(file, String(seconds)) };
}
