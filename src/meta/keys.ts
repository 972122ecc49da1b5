/**
 * The key schema: one key a fact, `!` between the parts. `!` sorts before every character of a repository
 * name, tag or digest, so everything of `a` comes before anything of `a-b`, `a.b`, `a/b`. Nothing outside this
 * file spells a key. See docs/ARCHITECTURE.md "Keys" for who writes what, and why.
 */
import type { Digest } from "../oci/digest.ts";
import type { RepositoryName, Tag } from "../oci/name.ts";

/** Version of the key schema that this program writes. */
export const SCHEMA_VERSION = 1;

export const keys = {
  schema: "meta!schema",
  installation: "meta!installation",
  /** Secrets that only the store's nodes may know; never part of a journal or backup. */
  uploadSecret: "secret!uploads",
  /** Key pair registered with Storj, by a fingerprint of the access grant. */
  storjSecret: (grant: string): string => `secret!storj!${grant}`,

  repositories: "repo!",
  repository: (name: RepositoryName): string => `repo!${name}`,

  tags: (name: RepositoryName): string => `tag!${name}!`,
  tag: (name: RepositoryName, tag: Tag | string): string => `tag!${name}!${tag}`,

  /** `n` counts a tag's moves from 1; padded so that byte order is the order of time. */
  history: (name: RepositoryName, tag: Tag, n: number): string =>
    `history!${name}!${tag}!${n.toString().padStart(10, "0")}`,
  histories: (name: RepositoryName, tag: Tag): string => `history!${name}!${tag}!`,

  /** Reverse index of tags: which tags show this manifest. */
  tagged: (name: RepositoryName, digest: Digest, tag: Tag): string =>
    `tagged!${name}!${digest}!${tag}`,
  taggeds: (name: RepositoryName, digest: Digest): string => `tagged!${name}!${digest}!`,

  manifests: (name: RepositoryName): string => `manifest!${name}!`,
  manifest: (name: RepositoryName, digest: Digest | string): string => `manifest!${name}!${digest}`,
  /** A manifest's hold on its own bytes, by blob, so that "who holds these bytes" is a scan of link! and keep!. */
  keep: (digest: Digest, name: RepositoryName): string => `keep!${digest}!${name}`,
  allKeeps: "keep!",

  referrers: (name: RepositoryName, subject: string): string => `referrer!${name}!${subject}!`,
  referrer: (name: RepositoryName, subject: string, digest: Digest): string =>
    `referrer!${name}!${subject}!${digest}`,

  blobs: "blob!",
  blob: (digest: Digest | string): string => `blob!${digest}`,
  /** A repository's right to show a blob. */
  link: (digest: Digest | string, name: RepositoryName): string => `link!${digest}!${name}`,
  links: (digest: Digest): string => `link!${digest}!`,
  allLinks: "link!",

  /** Reverse indexes: which manifests of the repository need this blob, this child manifest. */
  use: (name: RepositoryName, blob: string, manifest: Digest): string =>
    `use!${name}!${blob}!${manifest}`,
  uses: (name: RepositoryName, blob: Digest): string => `use!${name}!${blob}!`,
  child: (name: RepositoryName, child: string, parent: Digest): string =>
    `child!${name}!${child}!${parent}`,
  children: (name: RepositoryName, child: Digest): string => `child!${name}!${child}!`,

  /**
   * Changes whenever content that others may be about to refer to leaves the repository or is condemned.
   * A push expects it instead of every blob by itself: one expectation, however many layers.
   */
  fence: (name: RepositoryName): string => `fence!${name}`,
  /** Changes with every manifest that comes; whoever takes content away because nothing needs it expects it. */
  needs: (name: RepositoryName): string => `needs!${name}`,

  uploads: "upload!",
  upload: (id: string): string => `upload!${id}`,
  /** Bytes of an unfinished upload in a bucket, and who holds them. */
  multiparts: "multipart!",
  multipart: (id: string): string => `multipart!${id}`,
  trashes: "trash!",
  trash: (locator: string): string => `trash!${locator}`,
  lease: (job: string): string => `lease!${job}`,
  /** Beats of a living process. */
  alive: (run: string): string => `alive!${run}`,
  alives: "alive!",

  /** A member of the cluster, and how far its store is from holding what it should. */
  node: (name: string): string => `node!${name}`,
  nodes: "node!",
  healing: (name: string): string => `healing!${name}`,
  healings: "healing!",

  /** How far the journal reaches, as each of its writers knows. */
  journal: (writer: string): string => `journal!${writer}`,
  journals: "journal!",
  /** There while the store is being filled from the journal: nothing may be served from it. */
  restoring: "restore!state",

  /** Progress of taking over another registry's data directory. */
  adoption: "adopt!state",
  adopted: (name: RepositoryName): string => `adopt!repo!${name}`,
  adopteds: "adopt!repo!",
} as const;

const BY_DIGEST = new Set(["repo", "manifest", "blob", "link"]);

/** Whether a pull by digest rests upon this key: what it says seldom changes, and never to another content. */
export function mayBeShownStale(key: string): boolean {
  return BY_DIGEST.has(firstPart(key));
}

/** The part of a key before its first `!`: what kind of fact it is. */
function firstPart(key: string): string {
  return key.slice(0, key.indexOf("!"));
}

/** The part of a key after its last `!`. */
export function lastPart(key: string): string {
  return key.slice(key.lastIndexOf("!") + 1);
}

/**
 * Facts of the running nodes, and what must not leave the store. Nodes write themselves down at each start: a rebuilt
 * store that remembered those of old would wait for copies on machines that are not there.
 */
const UNJOURNALED = new Set([
  "upload",
  "multipart",
  "lease",
  "alive",
  "node",
  "healing",
  "journal",
  "restore",
  "secret",
]);

/** Whether the journal keeps what this key says, so that a rebuilt store has it. */
export function isJournaled(key: string): boolean {
  return !UNJOURNALED.has(firstPart(key));
}
