/** Whom a node asks about its cluster, from its configuration. */
import { MembershipError } from "./records.ts";
import type { Seed } from "./witnesses.ts";

export interface SeedOptions {
  readonly node: string;
  readonly address: string;
  readonly members: Readonly<Record<string, string>>;
  readonly join: readonly string[];
}

/** All but the node itself. Throws `MembershipError` for lists that contradict themselves. */
export function seedsOf({ node, address, members, join }: SeedOptions): readonly Seed[] {
  const listed = Object.entries(members);
  if (listed.length === 0 && join.length === 0)
    throw new MembershipError("neither cluster.members nor cluster.join names a node: list one");
  if (listed.length === 0)
    return join.filter((at) => at !== address).map((at) => ({ address: at }));
  const names = new Map<string, string>();
  for (const [name, at] of listed) {
    const twin = names.get(at);
    if (twin !== undefined)
      throw new MembershipError(
        `cluster.members has ${at} for both ${twin} and ${name}: give each its own address`,
      );
    names.set(at, name);
  }
  if (!Object.hasOwn(members, node))
    throw new MembershipError(
      `cluster.members does not list this node, ${node}: add it, or set cluster.node to one of ${[...names.values()].join(", ")}`,
    );
  return listed.filter(([name]) => name !== node).map(([name, at]) => ({ name, address: at }));
}
