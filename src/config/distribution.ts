import { DistributionTree } from "./distribution-tree.ts";
import { mapped, sections, silent, skipped, stops } from "./distribution-table.ts";
import { distributionFileVariable, serviceNotice, type Environment } from "./env.ts";
import type { Findings, Source } from "./problem.ts";
import { isServiceVariable } from "./service-variables.ts";
import { isMap } from "./tree.ts";
import type { YamlFile } from "./yaml-file.ts";

const prefix = "REGISTRY_";

/** podman, skopeo and buildah read it as the path of their credentials. */
const credentials = "REGISTRY_AUTH_FILE";

/** A distribution `config.yml`, known by its `version: 0.1`. */
export function isDistributionFile(tree: unknown): boolean {
  return isMap(tree) && String(tree["version"]) === "0.1";
}

/**
 * Translates a distribution file and the `REGISTRY_` variables into settings. `base`: there is no Holdfast file below
 * them, so that what they leave out is as it was with distribution (no DELETE unless `storage.delete.enabled`).
 */
export function readDistribution(
  file: YamlFile | undefined,
  env: Environment,
  base: boolean,
  findings: Findings,
): void {
  const tree = new DistributionTree(file);
  overlayVariables(tree, env, findings);
  for (const { path, applies, why } of stops)
    if (applies(tree)) findings.problem(tree.source(path), path, why);
  stopDrivers(tree, findings);
  const count = findings.settings.size;
  for (const { from, to, read } of mapped) {
    const value = read(tree.get(from), tree);
    if (value === undefined) continue;
    findings.settings.set(to, { value, source: sourceOf(from, tree) });
  }
  if (file || (base && findings.settings.size > count)) forbidDelete(tree, findings);
  noticeSkipped(tree, findings);
}

/** Who wrote an option, or its section where distribution's default for it counts. */
function sourceOf(option: string, tree: DistributionTree): Source {
  const written = tree.get(option) !== undefined;
  const [section = ""] = option.split(".");
  const { kind, name } = tree.source(written ? option : section);
  return { kind, name: `${name} (${written ? "" : "without "}${option})` };
}

function overlayVariables(tree: DistributionTree, env: Environment, findings: Findings): void {
  const services: string[] = [];
  for (const name of Object.keys(env).toSorted()) {
    const text = env[name];
    if (!name.startsWith(prefix) || name === distributionFileVariable || text === undefined)
      continue;
    const [section = ""] = name.slice(prefix.length).toLowerCase().split("_");
    if (isServiceVariable(name, text)) services.push(name);
    else if (name === credentials)
      findings.notices.push(`${name}: ignored; container clients use it, it is no configuration.`);
    else if (!sections.includes(section))
      findings.notices.push(`${name}: ignored; distribution has no such variable.`);
    else tree.overlay(name, text);
  }
  if (services.length > 0) findings.notices.push(serviceNotice(services));
}

/** Every key of `storage` that is no option of it names a storage driver. */
function stopDrivers(tree: DistributionTree, findings: Findings): void {
  const options = ["delete", "cache", "maintenance", "redirect", "tag"];
  const understood = ["filesystem", "s3", "s3aws", "storj"];
  const drivers = ["gcs", "azure", "swift", "oss", "inmemory"];
  const names = tree.names("storage").filter((name) => !options.includes(name));
  for (const name of names) {
    const path = `storage.${name}`;
    if (understood.includes(name) || (tree.fromVariable(path) && !drivers.includes(name))) continue;
    const why =
      name === "inmemory"
        ? "this version keeps its data on disk or in a bucket; set storage.filesystem to a directory on a tmpfs"
        : "this storage driver is not supported by this version, and Holdfast refuses to start rather than serve an empty registry from a disk; use storage.filesystem or storage.s3, or stay with distribution for now";
    findings.problem(tree.source(path), path, why);
  }
  const [first, second] = names.filter((name) => understood.includes(name));
  if (first === undefined || second === undefined) return;
  const path = `storage.${second}`;
  findings.problem(tree.source(path), path, `storage.${first} is set too; keep one storage driver`);
}

function forbidDelete(tree: DistributionTree, findings: Findings): void {
  if (findings.settings.has("auth.anonymous")) return;
  const source = sourceOf("storage.delete.enabled", tree);
  findings.settings.set("auth.anonymous", { value: ["pull", "push"], source });
}

function noticeSkipped(tree: DistributionTree, findings: Findings): void {
  const consumed = [...silent, ...stops.map(({ path }) => path), ...mapped.map(({ from }) => from)];
  const noticed = new Set<string>();
  for (const leaf of tree.leaves()) {
    const skip = skipped.find(
      ({ path, applies }) => within(leaf, path) && (applies?.(tree) ?? true),
    );
    const path = skip?.path ?? leaf;
    if (noticed.has(path) || (!skip && consumed.some((known) => within(leaf, known)))) continue;
    noticed.add(path);
    const why = skip?.why ?? "it is not an option of distribution that Holdfast knows";
    findings.notice(tree.source(path), `${path} is skipped: ${why}`);
  }
}

function within(path: string, section: string): boolean {
  return path === section || path.startsWith(`${section}.`);
}
