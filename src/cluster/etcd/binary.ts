/** The program `etcd`: where it is, and whether it will do. */
import { OperatorError } from "../../base/operator-error.ts";
import { releaseObstacle } from "../../meta/etcd-releases.ts";

export interface EtcdBinary {
  /** Absolute path. */
  readonly path: string;
  /** Such as `3.4.23`. */
  readonly version: string;
}

/** There is no program that will do; the message is one sentence that says what to do about it. */
export class EtcdUnfit extends OperatorError {
  override readonly name = "EtcdUnfit";
}

const FIELD = "cluster.etcd.binary (HOLDFAST_CLUSTER_ETCD_BINARY)";
const REMEDY = `install it (Debian, Ubuntu: apt-get install etcd-server; others: github.com/etcd-io/etcd/releases) or name another in ${FIELD}`;
const ANSWER_MS = 10_000;

/** Looks at the program of this path, or else at `etcd` on the PATH. Throws `EtcdUnfit`. */
export async function findEtcd(named?: string): Promise<EtcdBinary> {
  const path = Bun.which(named ?? "etcd");
  if (path === null)
    throw new EtcdUnfit(
      named === undefined
        ? `a cluster needs the program etcd, and there is none on the PATH: ${REMEDY}`
        : `"${named}", named in ${FIELD}, is not a program that can be run`,
    );
  const version = await versionOf(path);
  const obstacle = releaseObstacle(version);
  if (obstacle !== undefined)
    throw new EtcdUnfit(`etcd ${version} at ${path} is refused, since ${obstacle}: ${REMEDY}`);
  return { path, version };
}

async function versionOf(path: string): Promise<string> {
  const child = Bun.spawn([path, "--version"], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {},
    timeout: ANSWER_MS,
    killSignal: "SIGKILL",
  });
  const [printed, complaint] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  const [, version] = /^etcd Version: (\d+\.\d+\.\d+\S*)/m.exec(printed) ?? [];
  if (version !== undefined) return version;
  const said = (printed.trim() || complaint.trim()).slice(0, 200);
  throw new EtcdUnfit(
    `${path} does not say which etcd it is: to --version it answered "${said}"; ${REMEDY}`,
  );
}
