import { accessSync, constants, existsSync } from "node:fs";
import { availableParallelism, hostname } from "node:os";
import { resolve as absolute } from "node:path";
import type { z } from "zod";
import { actions } from "./action.ts";
import type { AnonymousAccess, Config } from "./config.ts";
import { knownKeys } from "./keys.ts";
import { collide, formatListen, isSame } from "./listen.ts";
import { shown } from "./parsed.ts";
import type { Findings, Setting, Settings, Source } from "./problem.ts";
import { resolveStores, shapeOf } from "./resolve-stores.ts";
import { schema, type SchemaOutput } from "./schema.ts";
import { isMap } from "./tree.ts";

/** What defaults depend on. */
export interface Machine {
  /** As `process.platform`. */
  readonly platform: string;
  readonly cores: number;
  /** The data directory of an installation, used where it is there and can be written. */
  readonly installedData: string;
  /** As the machine calls itself, domain included or not. */
  readonly hostName: string;
}

export const thisMachine: Machine = {
  platform: process.platform,
  cores: availableParallelism(),
  installedData: "/var/lib/holdfast",
  hostName: hostname(),
};

const nowhere: Source = { kind: "file", name: "configuration" };

/** Checks the merged settings and fills in what is not set. `undefined` when there are problems; they are in `findings`. */
export function resolve(
  settings: Settings,
  cwd: string,
  machine: Machine,
  findings: Findings,
): Config | undefined {
  const parsed = schema.safeParse(toTree(settings));
  if (!parsed.success) {
    for (const issue of parsed.error.issues) report(issue, settings, findings);
    return undefined;
  }
  const { data } = parsed;
  const source = (key: string) => settings.get(key)?.source ?? nowhere;
  if ((data.tls.cert === undefined) !== (data.tls.key === undefined)) {
    const [has, lacks] = data.tls.cert === undefined ? ["key", "cert"] : ["cert", "key"];
    const what = `it is set without tls.${lacks}; set both, or none for plain HTTP`;
    findings.problem(source(`tls.${has}`), `tls.${has}`, what);
  }
  const twice = data.listen.find((address, at) =>
    data.listen.slice(0, at).some((other) => isSame(address, other)),
  );
  if (twice) {
    const what = `${formatListen(twice)} is there twice; write each address once`;
    findings.problem(source("listen"), "listen", what);
  }
  const { listen } = data.metrics;
  if (listen && data.listen.some((main) => collide(main, listen))) {
    const what = "it is the same address as listen; choose another port for the metrics";
    findings.problem(source("metrics.listen"), "metrics.listen", what);
  }
  const stores = resolveStores(data, settings, { cwd, hostName: machine.hostName }, findings);
  if (!stores || findings.problems.length > 0) return undefined;
  const { metadata: _, storage: __, cluster: ___, ...rest } = data;
  return {
    ...rest,
    shape: shapeOf(stores),
    stores,
    data: absolute(cwd, data.data ?? defaultData(cwd, machine)),
    workers: workers(data.workers, source("workers"), machine, findings),
    tls:
      data.tls.cert !== undefined && data.tls.key !== undefined
        ? { cert: absolute(cwd, data.tls.cert), key: absolute(cwd, data.tls.key) }
        : undefined,
    publicUrl: data.publicUrl,
    auth: access(data, settings.get("auth.anonymous")?.source),
    limits: {
      ...data.limits,
      catalogEntries: Math.min(data.limits.catalogEntries, data.limits.pageEntries),
    },
  };
}

function toTree(settings: Settings): Record<string, unknown> {
  const tree: Record<string, unknown> = {};
  for (const [key, { value }] of settings) {
    const parents = key.split(".");
    const last = parents.pop() ?? "";
    let node = tree;
    for (const name of parents) {
      const child = node[name];
      const next = isMap(child) ? child : {};
      node[name] = next;
      node = next;
    }
    node[last] = value;
  }
  return tree;
}

/** Our own sentences (`custom`) stand as they are; every other issue says what the key takes. */
function report(issue: z.core.$ZodIssue, settings: Settings, findings: Findings): void {
  const path = issue.path.map(String);
  const key = [...path.keys()]
    .map((end) => path.slice(0, end + 1).join("."))
    .find((candidate) => knownKeys.has(candidate));
  const known = knownKeys.get(key ?? "");
  const setting = settings.get(key ?? "");
  if (!known || !setting) throw new Error(`no setting explains this issue: ${shown(issue)}`);
  const what =
    issue.code === "custom"
      ? issue.message
      : `${known.secret ? "what is written" : shown(setting.value)} is not accepted; it takes ${known.form}${listHint(issue, setting)}`;
  findings.problem(setting.source, known.path, what);
}

/** In a variable a list is JSON, which few would guess. */
function listHint(issue: z.core.$ZodIssue, { value, source }: Setting): string {
  const isText = source.kind === "variable" && typeof value === "string";
  if (!isText || issue.code !== "invalid_type" || issue.expected !== "array") return "";
  const items = value.split(/[\s,]+/).filter((item) => item !== "");
  return `, in a variable as JSON: '${shown(items)}'`;
}

function defaultData(cwd: string, { installedData }: Machine): string {
  if (existsSync(absolute(cwd, "data"))) return "data";
  try {
    accessSync(installedData, constants.W_OK | constants.X_OK);
    return installedData;
  } catch {
    return "data";
  }
}

function workers(
  wanted: number | undefined,
  source: Source,
  machine: Machine,
  findings: Findings,
): number {
  if (machine.platform === "linux") return wanted ?? Math.min(machine.cores, 256);
  if (wanted !== undefined && wanted > 1)
    findings.notice(
      source,
      `workers is ${wanted}, but several share a port only on Linux; one is used`,
    );
  return 1;
}

function access(data: SchemaOutput, source: Source | undefined): AnonymousAccess {
  const written = data.auth.anonymous;
  if (written) {
    const because = source?.kind === "distribution" ? "distribution" : "written";
    return { anonymous: actions.filter((action) => written.includes(action)), because };
  }
  return data.listen.every(({ loopback }) => loopback)
    ? { anonymous: actions, because: "loopback" }
    : { anonymous: ["pull", "push"], because: "reachable" };
}
