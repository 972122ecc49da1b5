/** The state of a cluster in words. */
import type { ClusterStatus, NodeStatus } from "../app/cluster-status.ts";
import { plural, size, span, table } from "./units.ts";

/** Below this share of free space a disk is called nearly full. */
const FREE_SHARE_LEAST = 0.05;

/** What is wrong, each with what to do, worst first; empty: the cluster is healthy. */
export function problemsOf(status: ClusterStatus): string[] {
  return [
    ...withoutQuorum(status),
    ...tooFewStores(status),
    ...status.nodes.filter(({ live }) => !live).map(down),
    ...silentVoters(status),
    ...(status.obstacles ?? []).map((cause) => `${status.node} gets no answer from ${cause}`),
    ...nearlyFull(status),
    ...lacking(status),
  ];
}

/** A node that has died a moment ago, or one that lives without its etcd. */
function silentVoters({ quorum, nodes }: ClusterStatus): string[] {
  const { reached, voters, votersLive } = quorum;
  const silent = (voters ?? 0) - (votersLive ?? 0);
  if (!reached || silent <= nodes.filter(({ live }) => !live).length) return [];
  return [
    `of ${voters} voters of the metadata ${votersLive} answer: look whether all nodes run, and at the log of the one that does not answer`,
  ];
}

/** The first line says whether all is well; the rest is what there is to see. */
export function statusText(status: ClusterStatus): string[] {
  const { nodes, copies, durableCopies, quorum } = status;
  return [
    ...summary(problemsOf(status), notesOf(status)),
    "",
    ...nodeTable(nodes),
    "",
    ...table([
      ["metadata", metadataText(quorum)],
      ["copies", `${copies}, of which ${durableCopies} are on disk before a push is answered`],
      ["lacking", lackingText(status)],
      ["seen by", `${status.node}, ${new Date(status.time).toISOString()}`],
    ]),
    ...repairLines(nodes),
  ];
}

function summary(problems: readonly string[], notes: readonly string[]): string[] {
  if (problems.length > 0) return [...problems, ...notes];
  const [note, ...more] = notes;
  return [note === undefined ? "healthy" : `healthy; ${note}`, ...more];
}

/** One line a node, below a heading. */
export function nodeTable(nodes: readonly NodeStatus[]): string[] {
  const heading = ["NODE", "ADDRESS", "ZONE", "STATE", "ETCD", "DISK FREE", "LACKS", "VERSION"];
  return table([
    [...heading, "STORE"],
    ...nodes.map((node) => [
      node.name,
      node.address,
      node.zone ?? "-",
      stateOf(node),
      node.etcd ?? "?",
      node.disk ? `${size(node.disk.free)} of ${size(node.disk.total)}` : "?",
      known(node.healing?.missingBlobs),
      node.version ?? "?",
      node.store ?? "none yet",
    ]),
  ]);
}

function withoutQuorum({ quorum, nodes }: ClusterStatus): string[] {
  if (quorum.reached) return [];
  if (quorum.etcd === "external")
    return [
      "no majority of etcd answers: pulls go on, pushes are refused; look at the etcd that cluster.etcd.endpoints names",
    ];
  const { voters, votersLive } = quorum;
  const counted =
    voters === null ? "" : ` (${known(votersLive)} of ${plural(voters, "voter")} answer)`;
  const dead = nodes.filter(({ live }) => !live).map(({ name }) => name);
  const remedy =
    dead.length > 0 ? `start ${dead.join(", ")}` : "see whether the nodes reach each other";
  return [`no majority${counted}: pulls go on, pushes are refused; ${remedy}`];
}

function tooFewStores({ nodes, durableCopies, quorum }: ClusterStatus): string[] {
  const needed = Math.min(durableCopies, nodes.length);
  const live = nodes.filter((node) => node.live).length;
  return quorum.reached && live < needed
    ? [
        `pushes are refused: each needs ${needed === 1 ? "a durable copy" : `${needed} durable copies`}, but only ${plural(live, "node")} can take one; start the others`,
      ]
    : [];
}

function down({ name, downMs, store }: NodeStatus): string {
  if (store === null) return `${name} has not started yet; start it`;
  const since = downMs === null ? "" : ` for ${span(downMs)}`;
  return `${name} is down${since}; start it, or, where it is gone for good, \`holdfast node remove ${name}\``;
}

function nearlyFull({ nodes }: ClusterStatus): string[] {
  return nodes.flatMap(({ name, disk }) =>
    disk && disk.free < FREE_SHARE_LEAST * disk.total
      ? [
          `the disk of ${name} is nearly full (${size(disk.free)} of ${size(disk.total)} free); make room there, or add a node`,
        ]
      : [],
  );
}

function lacking({ healing, nodes }: ClusterStatus): string[] {
  const { underReplicated, timeToZeroMs } = healing;
  if (underReplicated === 0) return [];
  if (underReplicated === null)
    return [
      "it is not known yet whether every blob has its copies; wait until all is looked through",
    ];
  const copying = nodes.some((node) => (node.healing?.repairs.length ?? 0) > 0);
  const what = `${plural(underReplicated, "blob")} with fewer copies than there should be`;
  if (timeToZeroMs !== null)
    return [`${what}; they are being copied, about ${span(timeToZeroMs)} to go`];
  return [`${what}; ${copying ? "they are being copied" : "nothing is being copied at present"}`];
}

/** What is no fault, but worth a word. */
function notesOf({ nodes, copies }: ClusterStatus): string[] {
  const versions = new Set(nodes.map(({ version }) => version).filter((text) => text !== null));
  const several = [...versions].toSorted().join(", ");
  return [
    ...nodes.filter(({ draining }) => draining).map(drainNote),
    ...(nodes.length < copies
      ? [`with ${plural(nodes.length, "node")} there can be no ${copies} copies of a blob`]
      : []),
    ...(versions.size > 1 ? [`several versions run (${several}); finish the update`] : []),
  ];
}

function drainNote({ name, stillNeeded }: NodeStatus): string {
  if (stillNeeded === 0)
    return `${name} holds nothing that is still needed: \`holdfast node remove ${name}\``;
  const left = stillNeeded === null ? "" : `, ${plural(stillNeeded, "blob")} to go`;
  return `${name} is draining${left}`;
}

function stateOf({ live, downMs, draining, store }: NodeStatus): string {
  const never = store === null && !live;
  const state = live
    ? "live"
    : never
      ? "not started"
      : `down${downMs === null ? "" : ` for ${span(downMs)}`}`;
  return draining ? `${state}, draining` : state;
}

function metadataText({
  etcd,
  voters,
  votersLive,
  leader,
  reached,
}: ClusterStatus["quorum"]): string {
  const leads = leader === null ? "" : `, ${leader} leads`;
  const answer = reached ? "a majority answers" : "no majority answers";
  return etcd === "external"
    ? `an etcd of your own, ${answer}`
    : `etcd, ${known(votersLive)} of ${known(voters)} voters answer${leads}`;
}

function lackingText({ healing }: ClusterStatus): string {
  const { underReplicated, missingBytes, timeToZeroMs } = healing;
  if (underReplicated === 0) return "nothing: every blob has its copies";
  if (underReplicated === null) return "not known yet";
  const bytes = missingBytes === null ? "" : `, ${size(missingBytes)}`;
  const left = timeToZeroMs === null ? "" : `, about ${span(timeToZeroMs)} to go`;
  return `${plural(underReplicated, "blob")}${bytes}${left}`;
}

function repairLines(nodes: readonly NodeStatus[]): string[] {
  const rows = nodes.flatMap(({ name, healing }) =>
    (healing?.repairs ?? []).map(({ digest, from, doneBytes, totalBytes }) => [
      `  ${from} → ${name}`,
      digest,
      `${size(doneBytes)} of ${size(totalBytes)}`,
    ]),
  );
  return rows.length === 0 ? [] : ["", "being copied:", ...table(rows)];
}

function known(count: number | null | undefined): string {
  return count === null || count === undefined ? "?" : String(count);
}
