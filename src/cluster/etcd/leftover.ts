/**
 * An etcd of ours whose parent was killed. It is recognised by its arguments in /proc, so there is no moment at which
 * it is not; on other systems than Linux it is not found, and the new one says that its port is taken.
 */
import { readdir, readFile } from "node:fs/promises";

const POLL_MS = 20;

/** Process ids of those that were started with all of `args`, ourselves and the dead excluded. */
export async function processesWith(args: readonly string[]): Promise<number[]> {
  const entries = await readdir("/proc").catch(() => []);
  const pids = entries.filter((name) => /^\d+$/.test(name)).map(Number);
  const own = await Promise.all(pids.map((pid) => hasArguments(pid, args)));
  return pids.filter((pid, index) => own[index] === true && pid !== process.pid);
}

/** Ends them, and resolves to their ids when they are gone: by SIGTERM, after `patienceMs` by SIGKILL. */
export async function endProcessesWith(
  args: readonly string[],
  patienceMs: number,
): Promise<number[]> {
  const found = await processesWith(args);
  await Promise.all(
    found.map(async (pid) => {
      const isGone = async () => !(await hasArguments(pid, args));
      send(pid, "SIGTERM");
      if (await within(patienceMs, isGone)) return;
      send(pid, "SIGKILL");
      if (!(await within(patienceMs, isGone)))
        throw new Error(`process ${pid}, an etcd of an earlier run, cannot be ended`);
    }),
  );
  return found;
}

/** False for a zombie, whose arguments are gone. */
async function hasArguments(pid: number, args: readonly string[]): Promise<boolean> {
  const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  const given = new Set(text.split("\0"));
  return args.every((arg) => given.has(arg));
}

async function within(ms: number, condition: () => Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) return false;
    await Bun.sleep(POLL_MS);
  }
  return true;
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}
