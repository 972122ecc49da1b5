/** Which releases of etcd are trusted with metadata. */
import { StoreUnavailable } from "../port.ts";
import type { EtcdClient } from "./client.ts";

/** Why this release is refused, or `undefined`. */
export function releaseObstacle(release: string): string | undefined {
  const [major = 0, minor = 0, patch = 0] = release.split(/[.-]/).map(Number);
  if (major < 3 || (major === 3 && minor < 4))
    return `etcd ${release} is too old: 3.4 is the oldest that will do`;
  // etcd's own post-mortem of March 2022: members of these releases may silently diverge after a crash.
  if (major === 3 && minor === 5 && patch < 3)
    return `etcd ${release} can lose data (3.5.0 to 3.5.2 do): upgrade it to 3.5.3 or newer`;
  return undefined;
}

/** Throws `StoreUnavailable` when a member that answers runs a release that is refused. */
export async function requireReleases(client: EtcdClient): Promise<void> {
  for (const { endpoint, release } of await client.releases()) {
    const obstacle = releaseObstacle(release);
    if (obstacle !== undefined)
      throw new StoreUnavailable(`${obstacle} (metadata.etcd.endpoints: ${endpoint})`);
  }
}
