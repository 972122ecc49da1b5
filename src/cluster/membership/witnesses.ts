/** Sorts what the seeds answered: who is a member, who is not, and what is wrong with the rest. */
import type { NodeAnswer } from "./records.ts";

/** `name` is known of `cluster.members`, not of `cluster.join`. */
export interface Seed {
  readonly name?: string | undefined;
  /** `host:port`. */
  readonly address: string;
}

/** What came of asking a seed. */
export interface Heard {
  readonly seed: Seed;
  readonly answer: NodeAnswer | { readonly failure: string };
}

export interface Witnesses {
  /** This node's own configuration is wrong. */
  readonly refusal: string | undefined;
  /** One for each seed that did not answer as what it is listed as. */
  readonly obstacles: readonly string[];
  /** Members that this node may join. */
  readonly members: readonly NodeAnswer[];
  /** Nodes that are no members yet. */
  readonly others: readonly NodeAnswer[];
}

export function findMembers(own: NodeAnswer, heard: readonly Heard[]): Witnesses {
  const obstacles: string[] = [];
  const members: NodeAnswer[] = [];
  const others: NodeAnswer[] = [];
  for (const { seed, answer } of heard) {
    if ("failure" in answer) obstacles.push(answer.failure);
    else if (answer.store === own.store) {
      // One of `cluster.join` may well be this node.
      if (seed.name === undefined) continue;
      const refusal =
        `cluster.members has ${seed.name} at ${seed.address}, where this node answers, which is called ${own.node}: ` +
        `set cluster.node to ${seed.name} here, or correct the address`;
      return { refusal, obstacles, members, others };
    } else {
      const obstacle = obstacleOf(own, seed, answer);
      if (obstacle !== undefined) obstacles.push(obstacle);
      else (answer.phase === "member" ? members : others).push(answer);
    }
  }
  return { refusal: undefined, obstacles, members, others };
}

function obstacleOf(own: NodeAnswer, seed: Seed, answer: NodeAnswer): string | undefined {
  const { address, name = answer.node } = seed;
  if (answer.node === own.node)
    return `${address} is called ${own.node} as this node is: give one of them another cluster.node`;
  if (answer.node !== name)
    return `${address} is listed as ${name} but calls itself ${answer.node}: correct cluster.members, or its cluster.node`;
  const isOfOther = answer.phase === "member" && answer.cluster !== own.cluster;
  if (own.phase === "member" && isOfOther && !isSuccessor(own, answer))
    return `${name} at ${address} is of another cluster, ${answer.cluster}, and this node of ${own.cluster}`;
  return undefined;
}

/** A member of a cluster that went on without the majority that this node was part of. */
export function successorOf(own: NodeAnswer, heard: readonly Heard[]): NodeAnswer | undefined {
  const answers = heard.flatMap(({ answer }) => ("failure" in answer ? [] : [answer]));
  return answers.find((answer) => isSuccessor(own, answer));
}

function isSuccessor({ cluster }: NodeAnswer, { supersedes = [] }: NodeAnswer): boolean {
  return cluster !== undefined && supersedes.includes(cluster);
}
