/** A how-to below docs/, followed to the letter: all its blocks marked `sh`, in order, in one shell. */
import {
  chmodSync,
  chownSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { toolPath } from "../clients/support/tools.ts";
import { alive, signal } from "./processes.ts";

const ROOT = join(import.meta.dir, "../..");
const BLOCK = /^```sh\n([\s\S]*?)^```$/gm;

export interface HowTo {
  /** Name of the file below docs/. */
  readonly document: string;
  /** Whose rights it is done with where the tests run as root. */
  readonly user: string;
  /** Milliseconds for all of it. */
  readonly patience: number;
  /** Files below the home directory that tell why it failed. */
  readonly logs: readonly string[];
}

export interface Done {
  readonly code: number;
  /** All that it printed. */
  readonly output: string;
  /** The logs. */
  readonly logs: string;
  /** Command lines of what it left running; none of them runs any more. */
  readonly left: readonly string[];
}

/** Follows it in an empty home directory, which is removed afterwards. */
export async function follow({ document, user, patience, logs }: HowTo): Promise<Done> {
  const home = mkdtempSync(join(tmpdir(), "holdfast-how-to-"));
  const ids = idsOf(user);
  if (ids !== undefined) chownSync(home, ids.uid, ids.gid);
  chmodSync(home, 0o755);
  const script = join(home, "how-to.sh");
  const [out, err] = [join(home, "out"), join(home, "err")];
  writeFileSync(script, `set -ex\n${blocksOf(document)}`);
  try {
    const limit = `${patience / 1000}s`;
    const shell = Bun.spawn(["setsid", "--wait", "timeout", limit, "bash", script], {
      cwd: home,
      env: { HOME: home, XDG_RUNTIME_DIR: home, PATH: toolPath, HOLDFAST: ROOT },
      stdin: "ignore",
      stdout: Bun.file(out),
      stderr: Bun.file(err),
      ...ids,
    });
    const code = await shell.exited;
    return {
      code,
      output: `${textOf(out)}\n${textOf(err)}`,
      logs: logs.map((log) => `--- ${log}\n${textOf(join(home, log))}`).join("\n"),
      left: processesIn(home).map((pid) => textOf(`/proc/${pid}/cmdline`).replaceAll("\0", " ")),
    };
  } finally {
    for (const pid of processesIn(home)) signal(pid, "SIGKILL");
    rmSync(home, { recursive: true, force: true });
  }
}

function blocksOf(document: string): string {
  const text = readFileSync(join(ROOT, "docs", document), "utf8");
  return [...text.matchAll(BLOCK)].map(([, code]) => code).join("\n");
}

function idsOf(user: string): { readonly uid: number; readonly gid: number } | undefined {
  if (userInfo().uid !== 0) return undefined;
  const id = (flag: string): number => Number(Bun.spawnSync(["id", flag, user]).stdout.toString());
  return { uid: id("-u"), gid: id("-g") };
}

/** Whoever works in a folder. */
function processesIn(folder: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).startsWith(folder) && alive(pid);
      } catch {
        return false;
      }
    });
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return `(no ${file})`;
  }
}
