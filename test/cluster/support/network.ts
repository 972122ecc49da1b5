/** Machines of their own as far as the network goes: namespaces of Linux on one bridge, which this process is on too. */
import { userInfo } from "node:os";
import type { Host } from "../../support/cluster.ts";

/** Why there can be none here; undefined where there can. */
export const networkObstacle: string | undefined =
  userInfo().uid !== 0
    ? "network namespaces need root"
    : Bun.which("ip") === null
      ? "needs ip: install iproute2"
      : tried(["netns", "list"]);

export interface Network extends Disposable {
  readonly hosts: readonly Host[];
  /** Has everything be lost that one sends to another, by their places in `hosts`. */
  lose(from: number, to: number): void;
  /** Loses nothing any more. */
  heal(): void;
}

/** Nobody has it. */
const NOWHERE = "02:00:00:00:00:01";

export function newNetwork(count: number): Network {
  const id = Math.floor(Math.random() * 0x10000).toString(16);
  // Reserved for the measuring of networks, so that it leads nowhere.
  const net = `198.${18 + Math.floor(Math.random() * 2)}.${Math.floor(Math.random() * 256)}`;
  const bridge = `hfb${id}`;
  const spaces = Array.from({ length: count }, (_, n) => ({
    name: `hf${id}n${n + 1}`,
    address: `${net}.${n + 1}`,
  }));
  const undo: (readonly string[])[] = [];
  const lost = new Map<string, () => void>();
  const remove = () => {
    for (const words of undo.toReversed()) tried(words);
  };
  try {
    undo.push(["link", "del", bridge]);
    ip("link", "add", bridge, "type", "bridge");
    ip("addr", "add", `${net}.254/24`, "dev", bridge);
    ip("link", "set", bridge, "up");
    for (const [n, { name, address }] of spaces.entries()) {
      const port = `hfp${id}${n}`;
      undo.push(["netns", "del", name]);
      ip("netns", "add", name);
      undo.push(["link", "del", port]);
      ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name);
      ip("link", "set", port, "master", bridge, "up");
      ip("-n", name, "link", "set", "lo", "up");
      ip("-n", name, "addr", "add", `${address}/24`, "dev", "eth0");
      ip("-n", name, "link", "set", "eth0", "up");
    }
  } catch (error) {
    remove();
    throw error;
  }
  const at = (n: number) => {
    const space = spaces[n];
    if (space === undefined) throw new Error(`there is no host ${n}`);
    return space;
  };
  return {
    hosts: spaces.map(({ name, address }) => ({ address, prefix: ["ip", "netns", "exec", name] })),
    lose(from, to) {
      // The sender is told nothing: its packets go to a machine that is none.
      const entry = [at(to).address, "dev", "eth0"];
      ip("-n", at(from).name, "neigh", "replace", ...entry, "lladdr", NOWHERE, "nud", "permanent");
      lost.set(`${from} ${to}`, () => ip("-n", at(from).name, "neigh", "del", ...entry));
    },
    heal() {
      for (const end of lost.values()) end();
      lost.clear();
    },
    [Symbol.dispose]: remove,
  };
}

function ip(...words: readonly string[]): void {
  const problem = tried(words);
  if (problem !== undefined) throw new Error(problem);
}

/** What was in the way. */
function tried(words: readonly string[]): string | undefined {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...words]);
  return exitCode === 0 ? undefined : `ip ${words.join(" ")}: ${stderr.toString()}`;
}
