/** Processes and ports, as the suites need them. Linux only: reads /proc. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");
export const BUN: string = join(ROOT, "node_modules/.bin/bun");
export const MAIN: string = join(ROOT, "src/main.ts");

/** Process ids of the children of a process, and theirs; empty when it has ended. */
export function descendants(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return text
      .split(" ")
      .filter((id) => id !== "")
      .flatMap((id) => [Number(id), ...descendants(Number(id))]);
  } catch {
    return [];
  }
}

/** False for a zombie too: it runs no code and holds no file. */
export function alive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !stat.slice(stat.lastIndexOf(")")).startsWith(") Z");
  } catch {
    return false;
  }
}

/** Sends a signal to a process that may have ended. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // it has ended
  }
}

/** Polls until `condition` holds; throws naming `what` when it does not within `ms`. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  ms: number,
  what: string,
): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await Bun.sleep(20);
  }
}

/** Ports that each of the runner's workers has for itself: what one has stopped and will start again stays free. */
const PORTS = 3000;
const lane = Number(process.env["BUN_TEST_WORKER_ID"] ?? 0) % 4;
let next = Math.floor(Math.random() * PORTS);

/** A port free on 127.0.0.1, below the range that the kernel gives to outgoing connections. */
export function freePort(): number {
  for (let tries = 0; tries < PORTS; tries++) {
    const port = 20_000 + lane * PORTS + (next++ % PORTS);
    try {
      Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
      return port;
    } catch {
      // taken
    }
  }
  throw new Error("no free port found on 127.0.0.1");
}
