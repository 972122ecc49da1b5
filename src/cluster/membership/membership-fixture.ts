/** Answers of nodes for tests of what is decided upon them. */
import { seedsOf } from "./seeds.ts";
import type { NodeAnswer, Seat } from "./records.ts";
import type { Heard } from "./witnesses.ts";

export function seatOf(name: string, store: string): Seat {
  const address = `${name}:5080`;
  return { name, address, store, etcdPeer: `${name}:5081`, etcdClient: `${name}:5082` };
}

export function membersOf(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, `${name}:5080`]));
}

/** A node that lists `names`, empty unless told otherwise. */
export function answerOf(
  node: string,
  names: readonly string[],
  more: Partial<NodeAnswer> = {},
): NodeAnswer {
  const store = more.store ?? `${Buffer.from(node).toString("hex")}00`.padEnd(16, "0");
  const seat = seatOf(node, store);
  const seeds = membersOf(names);
  return { node, store, phase: "empty", seat, seeds, nodes: [], version: "1", time: 0, ...more };
}

/** What `own` hears when these answer; all others of its list are silent. */
export function heardBy(own: NodeAnswer, answers: readonly NodeAnswer[]): Heard[] {
  const { node, seat, seeds = {} } = own;
  const asked = seedsOf({ node, address: seat.address, members: seeds, join: [] });
  return asked.map((seed) => ({
    seed,
    answer: answers.find((answer) => answer.node === seed.name) ?? {
      failure: `${seed.name} is not there`,
    },
  }));
}
