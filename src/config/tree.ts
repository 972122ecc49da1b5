import { keyGroups, knownKeys } from "./keys.ts";
import type { Findings, Source } from "./problem.ts";
import { refusal } from "./refused.ts";
import { nearest } from "./unknown.ts";

/** A map as YAML and JSON give it. */
export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Sections that somebody wrote for a reason: without a word in them, nobody can tell which. */
const spoken = new Map([
  ["auth", "write what anyone may do, such as anonymous: [pull]"],
  ["metadata", "set metadata.postgres or metadata.etcd"],
  ["metadata.postgres", "set metadata.postgres.url"],
  ["metadata.etcd", "set metadata.etcd.endpoints"],
  ["storage", "set storage.s3 or storage.storj"],
  ["cluster", "set cluster.members, or cluster.join on a node that comes later"],
  ["storage.s3", "set storage.s3.bucket"],
  ["storage.storj", "set storage.storj.bucket and storage.storj.accessGrant"],
]);

/** Takes the known keys out of a parsed file (or of a JSON map in a variable), and finds fault with the rest. */
export function readTree(
  tree: unknown,
  sourceOf: (path: readonly string[]) => Source,
  findings: Findings,
  parents: readonly string[] = [],
): void {
  const section = parents.join(".");
  const remedy = spoken.get(section);
  if (remedy !== undefined && isSilent(tree)) {
    const what = `it says nothing; ${remedy}, or remove the section`;
    return findings.problem(sourceOf(parents), section, what);
  }
  if (isNothing(tree)) return;
  if (!isMap(tree)) {
    const what = 'this is not a map of keys; write "key: value" lines';
    findings.problem(sourceOf(parents), section, what);
    return;
  }
  for (const [name, value] of Object.entries(tree)) {
    const path = [...parents, name];
    const key = path.join(".");
    const source = sourceOf(path);
    const nested = !name.includes(".");
    if (nested && keyGroups.has(key)) readTree(value, sourceOf, findings, path);
    else if (!nested || !knownKeys.has(key))
      findings.problem(source, key, refusal(key) ?? unknown(key));
    else if (value === null)
      findings.problem(source, key, "it has no value; give it one, or remove the key");
    else findings.settings.set(key, { value, source });
  }
}

function isNothing(tree: unknown): tree is null | undefined {
  return tree === null || tree === undefined;
}

function isSilent(tree: unknown): boolean {
  return isNothing(tree) || (isMap(tree) && Object.keys(tree).length === 0);
}

function unknown(key: string): string {
  const known = nearest(key, knownKeys.keys());
  if (known === undefined) return "this key is not known; `holdfast config schema` lists all";
  return known === key
    ? "keys are written nested, not with dots; put the last part below the first"
    : `this key is not known; the nearest known key is ${known}`;
}
