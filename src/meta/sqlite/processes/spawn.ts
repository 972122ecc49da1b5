/** For tests: a temporary data directory, and a writer in a process of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Place {
  readonly path: string;
  readonly socket: string;
  remove(): void;
}

export function temporaryPlace(): Place {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-meta-"));
  return {
    path: join(directory, "meta", "holdfast.db"),
    socket: join(directory, "meta", "writer.sock"),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** Resolves once the writer serves. */
export async function spawnWriter({ path, socket }: Place, historyMax = 10_000) {
  const script = join(import.meta.dir, "writer.ts");
  const child = Bun.spawn([process.execPath, script, path, socket, `${historyMax}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const chunk of child.stdout) if (chunk.length > 0) return child;
  throw new Error("the writer process did not start");
}
