/**
 * Who else writes to a distribution directory, as far as /proc shows it: programs of other users and of other
 * machines stay unseen, and so does everything where there is no /proc.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename } from "node:path";
import { parseYaml } from "../config/yaml-file.ts";

export interface ForeignWriter {
  readonly pid: number;
  /** The start of its command line. */
  readonly command: string;
}

const PROGRAMS: ReadonlySet<string> = new Set(["registry", "docker-registry"]);
const COMMANDS: ReadonlySet<string> = new Set(["serve", "garbage-collect"]);
const DEFAULT_ROOT = "/var/lib/registry";
const INSIDE = "/docker/registry/v2/";
const COMMAND_SHOWN_MAX = 120;

/** Registries that run on `directory`, and programs with a file open for writing below its `docker/registry/v2`. */
export function findForeignWriters(directory: string): ForeignWriter[] {
  const place = identity(directory);
  if (place === undefined) return [];
  return processes().flatMap((pid) => {
    const argv = texts(`/proc/${pid}/cmdline`);
    const writes = runsRegistryOn(pid, argv, place) || holdsOpen(pid, place);
    return writes ? [{ pid, command: argv.join(" ").slice(0, COMMAND_SHOWN_MAX) }] : [];
  });
}

/** One sentence for why nothing is done while they run. */
export function refusalOf(directory: string, [writer]: readonly ForeignWriter[]): string {
  const { pid = 0, command = "" } = writer ?? {};
  return (
    `another program writes to the data directory ${directory}: process ${pid} (${command}); ` +
    `stop it and start Holdfast again, for two registries on one directory lose content`
  );
}

function processes(): number[] {
  return attempt(() => readdirSync("/proc"), [])
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid);
}

function runsRegistryOn(pid: number, argv: readonly string[], place: string): boolean {
  // An interpreter or an emulator may stand in front.
  const at = argv.slice(0, 2).findIndex((part) => PROGRAMS.has(basename(part)));
  const command = argv[at + 1];
  if (at < 0 || command === undefined || !COMMANDS.has(command)) return false;
  const env = new Map(
    texts(`/proc/${pid}/environ`).map((line) => {
      const equals = line.indexOf("=");
      return [line.slice(0, equals), line.slice(equals + 1)] as const;
    }),
  );
  const operands = argv.slice(at + 2).filter((part) => !part.startsWith("-"));
  const file = operands.at(-1) ?? env.get("REGISTRY_CONFIGURATION_PATH");
  const config = file === undefined ? undefined : configOf(inProcess(pid, file));
  const root =
    env.get("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY") ??
    valueAt(config, "storage", "filesystem", "rootdirectory") ??
    DEFAULT_ROOT;
  if (typeof root !== "string" || identity(inProcess(pid, root)) !== place) return false;
  // Versions differ in what such variables do: only the file's word is good enough to trust it.
  const overridden = [...env.keys()].some((key) => key.startsWith("REGISTRY_STORAGE_MAINTENANCE"));
  const readOnly = valueAt(config, "storage", "maintenance", "readonly", "enabled") === true;
  return command === "garbage-collect" || overridden || !readOnly;
}

function holdsOpen(pid: number, place: string): boolean {
  return attempt(() => readdirSync(`/proc/${pid}/fd`), []).some((fd) => {
    const path = attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`), "");
    const at = path.indexOf(INSIDE);
    if (at < 0 || identity(inProcess(pid, path.slice(0, at) || "/")) !== place) return false;
    const info = attempt(() => readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"), "");
    const flags = Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? "0", 8);
    // The two lowest bits are 0 for O_RDONLY: a backup may go on.
    return (flags & 3) !== 0;
  });
}

/** A path as that process, perhaps in a container, means it. */
function inProcess(pid: number, path: string): string {
  return path.startsWith("/") ? `/proc/${pid}/root${path}` : `/proc/${pid}/cwd/${path}`;
}

function configOf(path: string): unknown {
  return attempt(() => parseYaml(path, readFileSync(path, "utf8")).tree, undefined);
}

function valueAt(tree: unknown, ...path: readonly string[]): unknown {
  let value = tree;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[key];
  }
  return value;
}

/** Device and inode: the same directory under whatever name. */
function identity(path: string): string | undefined {
  return attempt(() => {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  }, undefined);
}

function texts(path: string): string[] {
  return attempt(() => readFileSync(path, "utf8"), "")
    .split("\0")
    .filter((text) => text !== "");
}

/** Processes end, and hide from other users, at any moment. */
function attempt<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch {
    return otherwise;
  }
}
