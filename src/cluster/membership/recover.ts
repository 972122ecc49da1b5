/**
 * Going on without a majority that is lost for good (`holdfast node recover --force`): the etcd of this node becomes
 * the only member of a cluster with another id, into which the others are let in anew. What the majority acknowledged
 * and this node had not received yet is lost, and so are blobs that had no copy on any node that is left.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "../../base/log.ts";
import { randomHex } from "../../base/clock.ts";
import { findEtcd, memberStatus, type EtcdApi, type EtcdOptions } from "../etcd/index.ts";
import { EtcdLog } from "../etcd/log-lines.ts";
import { etcdArguments, etcdEnvironment, identity as etcdIdentity } from "../etcd/flags.ts";
import { endProcessesWith } from "../etcd/leftover.ts";
import type { Peers } from "../peer/port.ts";
import { askAll } from "./ask.ts";
import { Identity, type IdentityOptions } from "./identity.ts";
import { MembershipError, type IdentityRecord } from "./records.ts";

const STOP_MS = 10_000;
const WRITE_MS = 2000;
const OFFERED = 64;

export interface RecoverOptions extends IdentityOptions {
  /** As etcd is started otherwise. */
  readonly etcd: EtcdOptions;
  /** Path of the program; default `etcd` on the PATH. */
  readonly binary?: string;
  /** Asks the etcd of this node and no other. */
  readonly api: EtcdApi;
  /** Finds out whether another node runs; default: nobody is asked. */
  readonly peers?: Peers;
  readonly log: Logger;
  /** Milliseconds for etcd to lead itself; default 60 s. */
  readonly timeoutMs?: number;
}

export interface Recovery {
  /** Id of the cluster that is given up. */
  readonly was: string;
  /** Id of the one that goes on. */
  readonly cluster: string;
}

/**
 * For a node that is stopped, whose data directory the caller has locked. May be repeated after it failed. Throws
 * `MembershipError`.
 */
export async function recoverAlone(options: RecoverOptions): Promise<Recovery> {
  const identity = await Identity.open(options);
  const { phase, cluster: was, etcd, supersedes = [] } = identity.record;
  if (phase !== "member" || was === undefined || etcd === undefined || identity.isLost)
    throw new MembershipError(
      `${options.data} holds no member of a cluster to go on with: recover a node that has etcd's data`,
    );
  await refuseWhileOthersRun(options, identity.record);
  const left = await endProcessesWith(etcdIdentity(options.etcd), STOP_MS);
  if (left.length > 0) options.log.warn("ended an etcd that an earlier run left", { ended: left });
  const cluster = randomHex(8);
  // First, so that the others stay away whatever happens from here on.
  await identity.save({
    cluster,
    supersedes: [...supersedes, was],
    proposal: undefined,
    nodes: [identity.ownSeat],
  });
  await forceNewCluster(options);
  return { was, cluster };
}

/** They would go on as the cluster that this node leaves, or be put out of one that is well. */
async function refuseWhileOthersRun(
  { node, peers }: RecoverOptions,
  { cluster, supersedes = [], nodes }: IdentityRecord,
): Promise<void> {
  if (peers === undefined) return;
  // A try that failed has changed the id here.
  const ours = [cluster, ...supersedes];
  const heard = await askAll(
    peers,
    nodes.filter(({ name }) => name !== node),
  );
  const running = heard.flatMap(({ answer }) =>
    "failure" in answer || !ours.includes(answer.cluster) ? [] : [answer.node],
  );
  if (running.length > 0)
    throw new MembershipError(
      `${running.join(", ")} still ${running.length > 1 ? "run" : "runs"}: if the majority is lost for good, stop all ` +
        `nodes first, and recover the one that has most`,
    );
}

/**
 * Runs etcd until it leads itself and has a snapshot of all that it holds. One that was killed discards from its log
 * what it had not noted as committed yet, though its database has that already, and passes over new entries with the
 * same indexes: members that were filled from such a log would hold less than this one, for good. From a snapshot they
 * are given the database.
 */
async function forceNewCluster(options: RecoverOptions): Promise<void> {
  const { etcd, timeoutMs = 60_000 } = options;
  const { path, version } = await findEtcd(options.binary);
  const flags = [...etcdArguments(etcd, version), "--snapshot-count=1", "--force-new-cluster"];
  const child = Bun.spawn([path, ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
    env: etcdEnvironment(process.env),
  });
  const said = new EtcdLog(options.log);
  const ended = Promise.all([child.exited, said.follow(child.stderr)]);
  const end = performance.now() + timeoutMs;
  const reached = async (what: string, condition: () => Promise<boolean>): Promise<void> => {
    while (!(await condition().catch(() => false))) {
      if (child.exitCode !== null || performance.now() > end)
        throw new MembershipError(
          `etcd did not become ${what}, and says: ${said.lastError ?? "nothing"}`,
        );
      await Bun.sleep(100);
    }
  };
  try {
    await reached("the only member of its cluster", () => leadsItself(options.api));
    await reached("able to write", () => appliesWrites(options.api));
    const { raftIndex } = await memberStatus(options.api);
    await reached("able to make a snapshot", async () => {
      await writeNothing(options.api);
      return newestSnapshot(etcd.data) >= raftIndex;
    });
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}

async function leadsItself(api: EtcdApi): Promise<boolean> {
  const { id, leader } = await memberStatus(api);
  return id === leader;
}

/** An entry that it passes over is never answered, so many are offered: the first that is answered is past those. */
async function appliesWrites(api: EtcdApi): Promise<boolean> {
  await Promise.any(Array.from({ length: OFFERED }, () => writeNothing(api)));
  return true;
}

/** An entry in the log that changes neither a key nor the revision. */
async function writeNothing(api: EtcdApi): Promise<void> {
  await api.call(
    "/v3/kv/deleterange",
    { key: Buffer.from("no such key").toString("base64") },
    WRITE_MS,
  );
}

/** Index in the log that the newest snapshot covers; 0 without one. Source: etcd `server/etcdserver/api/snap`. */
function newestSnapshot(data: string): number {
  const names = readdirSync(join(data, "member", "snap"));
  const covered = names.map((name) => /^[0-9a-f]{16}-([0-9a-f]{16})\.snap$/.exec(name)?.[1]);
  return Math.max(...covered.map((index) => Number.parseInt(index ?? "0", 16)));
}
