import type { TestCluster, TestNode } from "../../support/cluster.ts";
import { until } from "../../support/processes.ts";

/** The node whose etcd leads; waits a little for there to be one. */
export async function leaderOf({ nodes }: Pick<TestCluster, "nodes">): Promise<TestNode> {
  let leader: TestNode | undefined;
  const isKnown = async () => {
    const [node] = nodes.filter(({ isRunning }) => isRunning);
    const { quorum } = (await node?.status()) ?? {};
    leader = nodes.find(({ name }) => name === quorum?.leader);
    return leader !== undefined;
  };
  await until(isKnown, 10_000, "somebody to lead");
  if (leader === undefined) throw new Error("nobody leads");
  return leader;
}
