import { keyGroups, knownKeys } from "./keys.ts";
import type { Findings, Source } from "./problem.ts";
import { variableRefusal } from "./refused.ts";
import { isServiceVariable } from "./service-variables.ts";
import { isMap, readTree } from "./tree.ts";
import { nearest } from "./unknown.ts";

/** The environment of a process. */
export type Environment = Readonly<Record<string, string | undefined>>;

const prefix = "HOLDFAST_";
/** Names the configuration file; not a key of its own. */
export const fileVariable = "HOLDFAST_CONFIG";
/** Names distribution's configuration file, for its own program too. */
export const distributionFileVariable = "REGISTRY_CONFIGURATION_PATH";

/** The variable of a key: `storage.s3.accessKeyId` is `HOLDFAST_STORAGE_S3_ACCESS_KEY_ID`. */
export function variableOf(path: string): string {
  const words = path.replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2").replaceAll(".", "_");
  return `${prefix}${words.toUpperCase()}`;
}

const keyOf = new Map([...knownKeys.keys()].map((path) => [variableOf(path), path]));
const groupOf = new Map([...keyGroups].map((path) => [variableOf(path), path]));

/**
 * A value written as text, in a variable or a flag. Keys that take only text get it as it is; for the others JSON is read
 * (`4`, `true`, `["a","b"]`), and what is no JSON stays text (`4MiB`, `[::1]:5000`).
 */
export function readText(path: string, text: string): unknown {
  return knownKeys.get(path)?.textOnly === true ? text : (readJson(text) ?? text);
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Reads every `HOLDFAST_` variable; a variable of one key wins over one that holds its whole section as a JSON map. */
export function readVariables(env: Environment, findings: Findings): void {
  const services: string[] = [];
  for (const name of Object.keys(env).toSorted()) {
    const text = env[name];
    if (!name.startsWith(prefix) || name === fileVariable || text === undefined) continue;
    if (isServiceVariable(name, text)) services.push(name);
    else readVariable(name, text, findings);
  }
  if (services.length > 0) findings.notices.push(serviceNotice(services));
}

function readVariable(name: string, text: string, findings: Findings): void {
  const source: Source = { kind: "variable", name };
  const key = keyOf.get(name);
  const group = groupOf.get(name);
  const refused = key === undefined && group === undefined && variableRefusal(name, variableOf);
  if (refused) findings.problem(source, "", refused);
  else if (key === undefined && group === undefined) {
    const names = [...keyOf.keys(), fileVariable].map((known) => known.slice(prefix.length));
    const known = nearest(name.slice(prefix.length), names);
    const hint =
      known === undefined
        ? "`holdfast config schema` lists the keys that have one"
        : `the nearest known one is ${prefix}${known}`;
    findings.problem(source, "", `this variable is not known; ${hint}`);
  } else if (text === "")
    findings.problem(
      source,
      key ?? group ?? "",
      "it is set but empty; give it a value, or unset it",
    );
  else if (key !== undefined) findings.settings.set(key, { value: readText(key, text), source });
  else if (group !== undefined) readGroup(group, text, source, findings);
}

/** Sorted names put a section before its keys, so a key's own variable is set last. */
function readGroup(group: string, text: string, source: Source, findings: Findings): void {
  const tree = readJson(text);
  if (isMap(tree)) readTree(tree, () => source, findings, group.split("."));
  else
    findings.problem(
      source,
      group,
      `it holds keys; write them as a JSON map such as {"key":"value"}`,
    );
}

/** One notice for all variables that a platform made. */
export function serviceNotice(names: readonly string[]): string {
  const [first, ...more] = names;
  const rest = more.length > 0 ? ` and ${more.length} more` : "";
  return `${first}${rest}: ignored; the platform made this for a service of that name, it is no configuration.`;
}
