/**
 * Letting nodes in. Who asks has no etcd data: it never ran one here, or lost it. An etcd member of its name is
 * therefore a dead one and is removed, and the node is added as a learner, which counts for no majority. Each request
 * does both anew, with a new member: one whose data may be gone is never used again.
 *
 * A request that was given up must not remove what a later one has added: it ends well before the node asks again
 * (`JOIN_MS`), and removes only members that it saw listed within that time.
 */
import * as z from "zod";
import type { Logger } from "../../base/log.ts";
import {
  addLearner,
  etcdUrl,
  listMembers,
  MembershipRefused,
  promoteMember,
  removeMember,
  type EtcdApi,
  type EtcdMember,
} from "../etcd/index.ts";
import type { PeerCaller, PeerHandler, Peers } from "../peer/port.ts";
import { askState } from "./ask.ts";
import type { Identity } from "./identity.ts";
import { seatSchema, type Admission, type Seat } from "./records.ts";
import { isFull } from "./voters.ts";

const LET_IN_MS = 6000;

export interface JoinOptions {
  readonly identity: Identity;
  readonly peers: Peers;
  readonly log: Logger;
  /** The etcd of this node's cluster, once there is one. */
  readonly etcd: () => EtcdApi | undefined;
}

const requestSchema = z.object({ cluster: z.string(), seat: seatSchema });

class Refused extends Error {
  /** 409: repeating the request is of no use. */
  readonly status: 409 | 503;
  constructor(status: 409 | 503, because: string) {
    super(because);
    this.status = status;
  }
}

/** `POST /v1/join`. */
export function createJoinHandler(options: JoinOptions): PeerHandler {
  return async (request, _, caller) => {
    if (request.method !== "POST") return new Response(null, { status: 405 });
    try {
      return Response.json(await letIn(options, await request.json(), caller));
    } catch (error) {
      if (error instanceof Refused)
        return Response.json({ error: error.message }, { status: error.status });
      const cause = error instanceof Error ? error.message : String(error);
      const sentence = `${options.identity.record.node} cannot let nodes in at present (${cause})`;
      return Response.json({ error: sentence }, { status: 503 });
    }
  };
}

async function letIn(
  { identity, peers, log, etcd }: JoinOptions,
  body: unknown,
  caller: PeerCaller,
): Promise<Admission> {
  const end = performance.now() + LET_IN_MS;
  const parsed = requestSchema.safeParse(body);
  if (!parsed.success) throw new Refused(409, "the request to join is of another form");
  const { cluster: wanted, seat } = parsed.data;
  const { node, cluster } = identity.record;
  const api = etcd();
  if (cluster === undefined || api === undefined)
    throw new Refused(503, `${node} is no member with a running etcd yet`);
  if (wanted !== cluster) throw new Refused(503, `${node} is of cluster ${cluster}, not ${wanted}`);
  if (caller.node !== seat.name || seat.name === node)
    throw new Refused(409, `${caller.node} asks ${node} to let in ${seat.name}`);
  await checkPlace(peers, node, seat);

  const listed = await listMembers(api, LET_IN_MS);
  const stale = listed.filter((member) => isAt(member, seat) || member.name === seat.name);
  for (const member of stale) checkSame(member, seat);
  const rest = listed.filter((member) => !stale.includes(member));

  const step = (change: () => Promise<unknown>): Promise<void> => inTime(change, end);
  for (const { id } of stale) await step(() => removed(api, id));
  if (isFull(rest.length)) return { cluster, nodes: await identity.seat(seat) };
  // etcd 3.4 has at most one learner: who stands by votes from now on, so that the next one can be sent everything.
  for (const learner of rest.filter(({ isLearner }) => isLearner))
    await step(() => admit(api, learner));
  await step(() => addLearner(api, etcdUrl(seat.etcdPeer)));
  const nodes = await identity.seat(seat);
  log.info("let a node in", { node: seat.name, address: seat.address, replaced: stale.length });
  const etcdMembers = Object.fromEntries([...rest.map(placeOf), [seat.name, seat.etcdPeer]]);
  return { cluster, etcdMembers, nodes };
}

/** Two machines of one name would push each other out in turn: who asks must be who is found at its address. */
async function checkPlace(peers: Peers, node: string, seat: Seat): Promise<void> {
  const found = await askState(peers, { name: seat.name, address: seat.address });
  if ("failure" in found)
    throw new Refused(503, `${node} cannot reach ${seat.name} at its address: ${found.failure}`);
  if (found.node !== seat.name || found.store !== seat.store)
    throw new Refused(
      409,
      `at ${seat.address}, which ${seat.name} gives as its address, another node answers, called ${found.node}: ` +
        `give each node a cluster.node and an address of its own`,
    );
}

/** The dead member whose place the caller takes had both its name and its address. */
function checkSame(member: EtcdMember, seat: Seat): void {
  const there = isAt(member, seat);
  if (there && (member.name === "" || member.name === seat.name)) return;
  throw new Refused(
    409,
    there
      ? `${seat.etcdPeer}, the address of ${seat.name} for etcd, is that of ${member.name}: correct one of them`
      : `there is a node ${seat.name} already, at ${member.peerUrls.join(", ")}: choose another cluster.node, or ` +
          `take that one out of the cluster first with holdfast node remove ${seat.name}`,
  );
}

function isAt(member: EtcdMember, seat: Seat): boolean {
  return member.peerUrls.includes(etcdUrl(seat.etcdPeer));
}

/** etcd knows the others by their URLs; one that never ran has no name yet. */
function placeOf({ id, name, peerUrls }: EtcdMember): [name: string, address: string] {
  const [url = ""] = peerUrls;
  return [name === "" ? `member-${id}` : name, url.replace(/^https?:\/\//, "")];
}

async function admit(api: EtcdApi, learner: EtcdMember): Promise<void> {
  try {
    await promoteMember(api, learner.id);
  } catch (error) {
    if (!(error instanceof MembershipRefused) || error.kind !== "not-in-sync") throw error;
    const [name, address] = placeOf(learner);
    throw new Refused(
      503,
      `one node at a time is brought up to date, and at present that is ${name} at ${address}: ` +
        `if that is gone for good, run holdfast node remove ${address} on a node that runs`,
    );
  }
}

async function removed(api: EtcdApi, id: string): Promise<void> {
  try {
    await removeMember(api, id);
  } catch (error) {
    if (!(error instanceof MembershipRefused) || error.kind !== "not-found") throw error;
  }
}

/** `end`: `performance.now()` by which it must have happened, and after which it is not even begun. */
async function inTime(change: () => Promise<unknown>, end: number): Promise<void> {
  const late = Promise.withResolvers<never>();
  const error = new Error("etcd has no majority, or takes too long");
  const left = end - performance.now();
  if (left <= 0) throw error;
  const timer = setTimeout(() => late.reject(error), left);
  try {
    await Promise.race([change(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
