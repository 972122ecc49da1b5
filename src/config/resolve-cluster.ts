import { resolve as absolute } from "node:path";
import type { ClusterConfig } from "./cluster.ts";
import { collide, parseListen, type ListenAddress } from "./listen.ts";
import { NODE_NAME, nodeNameForm } from "./node-name.ts";
import { resolveEtcd } from "./resolve-database.ts";
import type { SchemaOutput } from "./schema.ts";
import type { Secret } from "./secret.ts";
import type { Section } from "./section.ts";

type Cluster = SchemaOutput["cluster"];

const SECRET_BYTES = 32;
const makeOne = "`openssl rand -hex 32`";
/** What etcd demands of its two times. */
const ELECTION_HEARTBEATS = 5;

export interface ClusterSections {
  readonly cluster: Section;
  readonly etcd: Section;
  /** Where relative paths start. */
  readonly cwd: string;
  /** As the machine calls itself, domain included or not. */
  readonly hostName: string;
}

/** `undefined` when there are problems; they are in the sections' findings. */
export function resolveCluster(
  data: SchemaOutput,
  sections: ClusterSections,
): ClusterConfig | undefined {
  const { cluster } = data;
  const section = sections.cluster;
  const node = resolveNode(cluster, sections);
  const address = resolveAddress(cluster, node, section);
  const listen = address === undefined ? undefined : resolveListen(cluster, address, section);
  const secret = resolveSecret(cluster, section);
  const { copies, zone, downAfter, healing } = cluster;
  const durableCopies = cluster.durableCopies ?? Math.floor(copies / 2) + 1;
  if (durableCopies > copies)
    section.problem(
      "durableCopies",
      `it is ${durableCopies}, but cluster.copies is ${copies}; write at most ${copies}, or raise cluster.copies`,
    );
  const etcd = resolveClusterEtcd(cluster, sections);
  if (node === undefined || address === undefined || !listen || !secret || !etcd) return undefined;
  checkPorts(data, { listen, etcd }, section);
  const { members = {}, join = [] } = cluster;
  const seeds = { members, join };
  const durability = { copies, durableCopies, zone, downAfter, healing };
  return { node, ...seeds, address, listen, secret, ...durability, etcd };
}

function resolveNode({ node }: Cluster, { cluster, hostName }: ClusterSections) {
  if (node !== undefined) return node;
  const own = (hostName.split(".")[0] ?? "").toLowerCase();
  if (NODE_NAME.test(own)) return own;
  cluster.problem(
    "node",
    `it is not set, and the host name "${hostName}" makes no name of a node; set it, to ${nodeNameForm}`,
  );
  return undefined;
}

function resolveAddress(
  { members, join, address }: Cluster,
  node: string | undefined,
  section: Section,
): string | undefined {
  if (members && join) {
    section.problem("join", "cluster.members is set too; set only one of the two");
    return undefined;
  }
  if (join)
    return section.required(
      "address",
      address,
      'write where the other nodes reach this one, such as "10.0.0.4:5080"',
    );
  if (!members) {
    section.problem(
      "members",
      'it is not set; name every node that forms the cluster, such as { n1: "10.0.0.1:5080" }, or set cluster.join on a node that comes later',
    );
    return undefined;
  }
  if (node === undefined) return undefined;
  const own = Object.entries(members).find(([name]) => name === node)?.[1];
  const names = Object.keys(members).join(", ");
  if (own === undefined)
    section.problem(
      "node",
      `"${node}" is not among cluster.members (${names}); set it to one of them, or use cluster.join for a node that comes later`,
    );
  else if (address !== undefined && address !== own)
    section.problem(
      "address",
      `cluster.members says ${own} of ${node}, which is another; write it in one place only`,
    );
  return own;
}

function resolveListen(
  { listen }: Cluster,
  address: string,
  section: Section,
): ListenAddress | undefined {
  if (listen === undefined) {
    const own = section.take("address", parseListen(address));
    return own?.loopback === false ? { ...own, host: "" } : own;
  }
  if (listen.port !== 0) return listen;
  section.problem(
    "listen",
    'port 0 takes a free one, which the other nodes would not find; write one such as ":5080"',
  );
  return undefined;
}

function resolveSecret(data: Cluster, section: Section): Secret | undefined {
  const secret = section.secret("secret", data.secret, data.secretFile);
  const name = data.secretFile === undefined ? "secret" : "secretFile";
  if (!section.has("secret") && !section.has("secretFile"))
    section.problem(
      "secret",
      `it is not set; set cluster.secretFile to a file that is the same on every node, made with ${makeOne}`,
    );
  const bytes = Buffer.byteLength(secret?.text ?? "");
  if (secret && bytes < SECRET_BYTES) {
    section.problem(
      name,
      `the secret has ${bytes} bytes, and less than ${SECRET_BYTES} can be guessed; make one with ${makeOne}`,
    );
    return undefined;
  }
  return secret;
}

const ofOurs = ["peerPort", "clientPort", "binary", "heartbeat", "electionTimeout"];
const ofYours = ["prefix", "username", "password", "passwordFile", "tls.ca", "tls.cert", "tls.key"];

function resolveClusterEtcd(
  { etcd: data }: Cluster,
  { etcd: section, cwd }: ClusterSections,
): ClusterConfig["etcd"] | undefined {
  const external = data.endpoints !== undefined;
  for (const name of external ? ofOurs : ofYours)
    if (section.has(name))
      section.problem(
        name,
        external
          ? "it is for the etcd that Holdfast starts, but cluster.etcd.endpoints names one of your own; set only one of the two"
          : "it is for an etcd of your own; set cluster.etcd.endpoints, or remove it",
      );
  if (external) return resolveEtcd(data, section);
  const { peerPort, clientPort, binary, heartbeat, electionTimeout } = data;
  if (electionTimeout < ELECTION_HEARTBEATS * heartbeat)
    section.problem(
      "electionTimeout",
      `it is less than ${ELECTION_HEARTBEATS} times cluster.etcd.heartbeat, which etcd does not take; raise it, or lower the other`,
    );
  return {
    kind: "supervised",
    peerPort,
    clientPort,
    binary: binary === undefined ? undefined : absolute(cwd, binary),
    heartbeat,
    electionTimeout,
  };
}

/** Everything that listens needs a port of its own. */
function checkPorts(
  { listen: main, metrics, cluster: { join } }: SchemaOutput,
  { listen, etcd }: Pick<ClusterConfig, "listen" | "etcd">,
  section: Section,
): void {
  const taken: (readonly [key: string, address: ListenAddress])[] = [
    ...main.map((address) => ["listen", address] as const),
    ...(metrics.listen ? [["metrics.listen", metrics.listen] as const] : []),
  ];
  const says = join ? "address" : "members";
  const wanted: (readonly [name: string, address: ListenAddress])[] = [
    [section.has("listen") ? "listen" : says, listen],
  ];
  if (etcd.kind === "supervised")
    wanted.push(
      ["etcd.peerPort", { ...listen, port: etcd.peerPort }],
      ["etcd.clientPort", { ...listen, port: etcd.clientPort }],
    );
  for (const [name, address] of wanted) {
    const other = taken.find(([, one]) => collide(one, address))?.[0];
    if (other !== undefined)
      section.problem(name, `port ${address.port} is that of ${other} too; choose another`);
    taken.push([`${section.path}.${name}`, address]);
  }
}
