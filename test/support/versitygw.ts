/** A real S3 server for tests: versitygw on a directory of its own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { S3Client } from "../../src/blobs/s3/client.ts";
import { findTool } from "../clients/support/tools.ts";
import { freePort, until } from "./processes.ts";

export interface Versitygw extends AsyncDisposable {
  /** Base URL, for path style. */
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Where buckets are directories and objects are files. */
  readonly directory: string;
  readonly pid: number;
  createBucket(name: string): Promise<void>;
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
    await until(
      () =>
        fetch(endpoint).then(
          () => true,
          () => false,
        ),
      10_000,
      "versitygw",
    );
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  return {
    endpoint,
    accessKeyId,
    secretAccessKey,
    directory,
    pid: child.pid,
    async createBucket(name) {
      const { transport } = new S3Client({
        bucket: name,
        endpoint,
        credentials: { accessKeyId, secretAccessKey },
      });
      await transport.send({ method: "PUT", expected: [200] }, () => undefined);
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}
