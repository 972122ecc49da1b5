/** Releases of etcd: how they are ordered, and which are trusted with metadata. */

/** True when `release`, such as `3.4.23`, is `major.minor` or newer. */
export function isAtLeast(release: string, major: number, minor: number): boolean {
  const [ownMajor, ownMinor] = parts(release);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}

/** Why this release is refused, or `undefined`. */
export function releaseObstacle(release: string): string | undefined {
  if (!isAtLeast(release, 3, 4)) return "3.4 is the oldest that will do";
  const [major, minor, patch] = parts(release);
  // etcd's own post-mortem of March 2022: members of these releases may silently diverge after a crash.
  return major === 3 && minor === 5 && patch < 3
    ? "3.5.0 to 3.5.2 can lose acknowledged data"
    : undefined;
}

function parts(release: string): readonly [number, number, number] {
  const [major = 0, minor = 0, patch = 0] = release.split(/[.+-]/).map(Number);
  return [major, minor, patch];
}
