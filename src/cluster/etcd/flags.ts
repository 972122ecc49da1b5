/** What a supervised etcd is told: flags that releases 3.4, 3.5 and 3.6 understand alike, and an environment. */
import { isAtLeast } from "../../meta/etcd-releases.ts";

/** Paths of PEM files. The certificate serves as a server's and as a client's. */
export interface EtcdTlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Where a member listens, and where others find it; each `host:port`. */
export interface EtcdAddress {
  /** An IP address, as etcd demands; `0.0.0.0` and `[::]` for all. */
  readonly listen: string;
  readonly advertise: string;
}

export interface EtcdOptions {
  /** The node's name. */
  readonly name: string;
  /** Absolute path of its own directory. */
  readonly data: string;
  /** The same at all members, another one in every cluster: members of two clusters do not mix. */
  readonly clusterId: string;
  /**
   * `new`: all of `members` start together for the first time. `existing`: this one was added to those that run.
   * Without meaning, as `members` is, once there is data.
   */
  readonly state: "new" | "existing";
  /** Advertised peer address, `host:port`, of every member by its name, this one among them. */
  readonly members: Readonly<Record<string, string>>;
  readonly peer: EtcdAddress;
  readonly client: EtcdAddress;
  readonly tls: EtcdTlsFiles;
  /** Milliseconds; default 100. */
  readonly heartbeatMs?: number;
  /** Milliseconds, at least 5 × `heartbeatMs`; default 1000. */
  readonly electionMs?: number;
  /** Size of the database at which writes are refused; default `QUOTA_BYTES`. */
  readonly quotaBytes?: number;
}

/** 8 GiB, the most that etcd is made for. */
export const QUOTA_BYTES: number = 8 * 2 ** 30;
const REQUEST_BYTES = 8 * 2 ** 20;
const OPERATIONS = 1024;

/** The arguments that tell one member from all others on this machine. */
export function identity({ name, data }: EtcdOptions): readonly string[] {
  return [`--name=${name}`, `--data-dir=${data}`];
}

/** The arguments of `etcd`; `version` is that of the program. */
export function etcdArguments(options: EtcdOptions, version: string): string[] {
  const { peer, client, tls } = options;
  const members = Object.entries(options.members).map(([name, at]) => `${name}=${etcdUrl(at)}`);
  return [
    ...identity(options),
    `--initial-cluster=${members.join(",")}`,
    `--initial-cluster-state=${options.state}`,
    `--initial-cluster-token=${options.clusterId}`,
    `--listen-peer-urls=${etcdUrl(peer.listen)}`,
    `--initial-advertise-peer-urls=${etcdUrl(peer.advertise)}`,
    `--listen-client-urls=${etcdUrl(client.listen)}`,
    `--advertise-client-urls=${etcdUrl(client.advertise)}`,
    "--peer-client-cert-auth",
    `--peer-trusted-ca-file=${tls.ca}`,
    `--peer-cert-file=${tls.cert}`,
    `--peer-key-file=${tls.key}`,
    // The authority signs for nobody but members, and behind NAT or with two networks a member's connections come
    // from addresses that are not in its certificate.
    isAtLeast(version, 3, 6)
      ? "--peer-skip-client-san-verification"
      : "--experimental-peer-skip-client-san-verification",
    // Makes it demand certificates of clients. `--client-cert-auth` would add nothing but a warning for each request
    // that comes by the JSON gateway.
    `--trusted-ca-file=${tls.ca}`,
    `--cert-file=${tls.cert}`,
    `--key-file=${tls.key}`,
    `--max-request-bytes=${REQUEST_BYTES}`,
    `--max-txn-ops=${OPERATIONS}`,
    `--quota-backend-bytes=${options.quotaBytes ?? QUOTA_BYTES}`,
    `--heartbeat-interval=${options.heartbeatMs ?? 100}`,
    `--election-timeout=${options.electionMs ?? 1000}`,
    // A member that was cut off comes back without an election; the default from 3.5 on.
    "--pre-vote",
    "--strict-reconfig-check",
    // Compaction must not pass the journal, so it is ours.
    "--auto-compaction-retention=0",
    // The default from 3.5 on, and the only one from there.
    "--logger=zap",
    "--log-level=warn",
    "--log-outputs=stderr",
    "--metrics=basic",
    "--enable-pprof=false",
  ];
}

/** `https://host:port`. */
export function etcdUrl(address: string): string {
  return `https://${address}`;
}

/**
 * What etcd needs of our environment. Variables `ETCD_…` would contradict the flags, proxies are not for members,
 * and our secrets are not its business.
 */
export function etcdEnvironment(
  own: Readonly<Record<string, string | undefined>>,
  architecture: string = process.arch,
): Record<string, string> {
  const kept = Object.entries(own).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && /^(?:PATH|TZ|GO[A-Z]+)$/.test(entry[0]),
  );
  // etcd 3.4 demands to be told on all but amd64.
  const unsupported = architecture === "x64" ? {} : { ETCD_UNSUPPORTED_ARCH: architecture };
  return { ...Object.fromEntries(kept), ...unsupported };
}
