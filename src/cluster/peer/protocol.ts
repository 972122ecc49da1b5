/** The version of the peer protocol that this program speaks: the first part of every path. */
export const PEER_PROTOCOL = "v1";

/** The first part of a path such as `/v1/state` where it is a version, `undefined` where it is none. */
export function versionIn(path: string): string | undefined {
  return /^\/(v\d+)(?:[/?]|$)/.exec(path)?.[1];
}
