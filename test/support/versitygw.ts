/** A real S3 server for tests: versitygw on a directory of its own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "../clients/support/tools.ts";
import { freePort, until } from "./processes.ts";
import { answers, createBucket, type S3Server } from "./s3-server.ts";

export interface Versitygw extends S3Server {
  /** Where buckets are directories and objects are files. */
  readonly directory: string;
}

/** Starts the server and waits until it answers. */
export async function startVersitygw(): Promise<Versitygw> {
  const program = findTool("versitygw");
  if (program === undefined) throw new Error("needs versitygw: run scripts/setup.sh");
  const directory = await mkdtemp(join(tmpdir(), "holdfast-s3-"));
  const port = freePort();
  const [accessKeyId, secretAccessKey] = ["holdfast-test", "holdfast-test-secret"];
  // A runner that is killed takes the server with it.
  const tied = Bun.which("setpriv") ? ["setpriv", "--pdeathsig", "KILL"] : [];
  const listen = ["-p", `127.0.0.1:${port}`, "-a", accessKeyId, "-s", secretAccessKey];
  const child = Bun.spawn([...tied, program, ...listen, "--keep-alive", "-q", "posix", directory], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "ignore",
  });
  const endpoint = `http://127.0.0.1:${port}`;
  try {
    await until(() => answers(endpoint), 10_000, "versitygw");
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  const server = { endpoint, accessKeyId, secretAccessKey };
  return {
    ...server,
    directory,
    pid: child.pid,
    createBucket: (name) => createBucket(server, name),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}
