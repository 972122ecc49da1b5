/** Refuses members whose release is not to be trusted with metadata. */
import { releaseObstacle } from "../etcd-releases.ts";
import { StoreUnavailable } from "../port.ts";
import type { EtcdClient } from "./client.ts";

/** Throws `StoreUnavailable` when a member that answers runs a release that is refused. */
export async function requireReleases(client: EtcdClient): Promise<void> {
  for (const { endpoint, release } of await client.releases()) {
    const obstacle = releaseObstacle(release);
    if (obstacle !== undefined)
      throw new StoreUnavailable(
        `etcd ${release} is refused: ${obstacle} (metadata.etcd.endpoints: ${endpoint})`,
      );
  }
}
