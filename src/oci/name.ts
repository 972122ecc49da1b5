/** Repository names and tags: distribution-spec §Pulling manifests. */

declare const nameBrand: unique symbol;
declare const tagBrand: unique symbol;

/** A repository name, without host, at most `NAME_MAX` characters. */
export type RepositoryName = string & { readonly [nameBrand]: true };

/** A tag, at most 128 characters. */
export type Tag = string & { readonly [tagBrand]: true };

/** Longest repository name, in characters: many clients cap host and name together at 255. */
export const NAME_MAX = 255;

const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

export function parseName(text: string): RepositoryName | undefined {
  return text.length <= NAME_MAX && NAME.test(text) ? (text as RepositoryName) : undefined;
}

export function parseTag(text: string): Tag | undefined {
  return TAG.test(text) ? (text as Tag) : undefined;
}
