/** Copying to several nodes until enough of them have it. */
import type { NodeState } from "../node.ts";
import type { Targets } from "./others.ts";

export interface Spread {
  /** Whether `wanted` nodes had it when this was told. */
  readonly isEnough: boolean;
  /** Nodes that were asked, whatever came of it. */
  readonly asked: readonly NodeState[];
  readonly held: readonly NodeState[];
  /** Sentences: which node, and why. */
  readonly failures: readonly string[];
  /** Resolves when no copy is under way. The lists grow until then. */
  readonly settled: () => Promise<void>;
}

/** Resolves when enough have it, while the others go on, or when nobody is left who could take it. */
export async function spread(
  { first, further, wanted }: Targets,
  copy: (node: NodeState) => Promise<void>,
): Promise<Spread> {
  const done = Promise.withResolvers<void>();
  const waiting = [...further];
  const asked: NodeState[] = [];
  const held: NodeState[] = [];
  const failures: string[] = [];
  const tasks: Promise<void>[] = [];
  let running = 0;

  const attempt = async (node: NodeState): Promise<void> => {
    try {
      await copy(node);
      held.push(node);
    } catch (error) {
      failures.push(`${node.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
    running--;
    goOn();
  };
  const begin = (node: NodeState): void => {
    running++;
    asked.push(node);
    tasks.push(attempt(node));
  };
  const goOn = (): void => {
    while (held.length + running < wanted) {
      const next = waiting.shift();
      if (next === undefined) break;
      begin(next);
    }
    if (held.length >= wanted || running === 0) done.resolve();
  };

  first.forEach(begin);
  goOn();
  await done.promise;
  return {
    isEnough: held.length >= wanted,
    asked,
    held,
    failures,
    settled: async () => {
      // Nothing is begun once enough have it, or nobody is left.
      await Promise.all(tasks);
    },
  };
}
