/** What `holdfast adopt` and the admin socket say. */
import { join } from "node:path";
import type { AdoptionStatus } from "../../../src/registry/adopt-records.ts";
import { BUN, MAIN, until } from "../../support/processes.ts";

export async function statusOf(data: string): Promise<AdoptionStatus | null> {
  const answer = await fetch("http://holdfast/adoption", { unix: join(data, "admin.sock") });
  return (await answer.json()) as AdoptionStatus | null;
}

/** Resolves when the server has taken everything over. */
export async function adopted(data: string): Promise<AdoptionStatus> {
  let status: AdoptionStatus | null = null;
  await until(
    async () => {
      status = await statusOf(data);
      return status?.phase === "done";
    },
    60_000,
    "the adoption to be done",
  );
  if (status === null) throw new Error("nothing was taken over");
  return status;
}

/** Runs `holdfast adopt …` on a data directory. */
export async function adopt(
  data: string,
  ...args: readonly string[]
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const child = Bun.spawn([BUN, MAIN, "adopt", "--data", data, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: process.env["PATH"] ?? "" },
  });
  const [stdout, stderr, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { code, stdout, stderr };
}
