/** Cluster: metadata in an etcd that the nodes run together, bytes and journal on the disks of the nodes. */
import { mkdir, rename } from "node:fs/promises";
import { basename, join } from "node:path";
import { systemClock } from "../base/clock.ts";
import { describe, type Logger } from "../base/log.ts";
import type { Locator } from "../blobs/port.ts";
import { copiesHandlers, purgeShadows } from "../cluster/copies/index.ts";
import { EtcdUpkeep, votersFor } from "../cluster/etcd/index.ts";
import { forwardHandler } from "../cluster/forward.ts";
import { startHealer, startScrub } from "../cluster/healing/index.ts";
import type { Membership } from "../cluster/membership/index.ts";
import type { NodeRecord, Nodes } from "../cluster/node.ts";
import { foundNodes, registerNode, reportSpace } from "../cluster/nodes/index.ts";
import { PeerUnavailable } from "../cluster/peer/index.ts";
import type { ClusterConfig } from "../config/config.ts";
import { journaled } from "../journal/index.ts";
import { keys } from "../meta/keys.ts";
import type { MetaStore } from "../meta/port.ts";
import { Presence } from "../meta/presence.ts";
import { prepareSchema, readInstallation } from "../registry/schema.ts";
import { etcdClient, openCopies, type ClusterLink } from "./cluster.ts";
import { enterCluster, type Entered } from "./cluster-entry.ts";
import { bringSolo } from "./cluster-from-solo.ts";
import { startNodeRecorder } from "./cluster-journal.ts";
import type { Meanwhile } from "./cluster-etcd.ts";
import { clusterNode } from "./cluster-node.ts";
import { Reach } from "./cluster-reach.ts";
import { servingPulls } from "./cluster-waiting.ts";
import type { NodeOptions, NodeStores } from "./node-stores.ts";
import { starting } from "./start-error.ts";
import { VERSION as version } from "./version.ts";

const STATE_MS = 2000;

/** Resolves once this node is a member of its cluster, which may take for as long as others are not there. Throws `StartError`. */
export function openClusterStores(
  { config, front, log, run, lost, signal = new AbortController().signal }: NodeOptions,
  cluster: ClusterConfig,
): Promise<NodeStores> {
  return starting(async () => {
    await using held = new AsyncDisposableStack();
    const { data } = config;
    const { node, copies } = cluster;
    const bring = await bringSolo(config, log, signal);
    const meanwhile =
      front &&
      ((waiting: Pick<Entered, "link" | "membership">): Meanwhile =>
        (majority, metadata) =>
          servingPulls(held, majority, { ...waiting, config, cluster, front, metadata, log }));
    const entered = await enterCluster(held, {
      data,
      cluster,
      bring,
      ...(meanwhile && { meanwhile }),
      log,
      lost,
      signal,
    });
    const { link, membership, port, api, engine, access, metadata } = entered;
    await prepareSchema(engine, systemClock);
    const { objects, recorder } = await startNodeRecorder(data, metadata, {
      store: engine,
      writer: run,
      installation: await readInstallation(engine),
      mode: "behind",
      // Each node keeps a journal of its own, whole.
      shared: false,
      clock: systemClock,
      log,
    });
    held.defer(() => recorder.close());
    const meta = journaled(engine, recorder);
    const presence = held.use(await Presence.begin({ meta, run }));
    await foundNodes(meta, membership.nodes);

    const { local, nodes, blobs } = await openCopies(held, {
      cluster,
      data,
      link,
      meta,
      presence,
      log,
    });
    let answer: ((request: Request) => Promise<Response>) | undefined;
    const copyHandlers = copiesHandlers(local);
    port.setHandlers({
      ...membership.handlers,
      "/v1/blobs": copyHandlers.blobs,
      "/v1/uploads": copyHandlers.uploads,
      "/v1/forward": forwardHandler(
        async (request) => (await answer?.(request)) ?? new Response(null, { status: 503 }),
      ),
    });
    await buryFormer(link, cluster, { meta, presence, store: membership.store });
    await registerNode(meta, presence, {
      name: node,
      address: cluster.address,
      store: membership.store,
      run,
      version,
      ...(cluster.zone === undefined ? {} : { zone: cluster.zone }),
    });
    held.use(reportSpace({ meta, blobs: local, name: node }));
    held.defer(remembering(membership, nodes, log));
    held.defer(endingWhenRemoved(nodes, lost));
    const reach = held.use(new Reach(membership, nodes, cluster.durableCopies, log));
    const healer = held.use(
      startHealer({
        meta,
        blobs: local,
        nodes,
        peers: link.peers,
        copies,
        durable: cluster.durableCopies,
        downAfterMs: cluster.downAfter,
        bytesPerSecond: cluster.healing.bytesPerSecond,
        log,
      }),
    );
    held.use(
      startScrub({
        meta,
        blobs: local,
        nodes,
        peers: link.peers,
        setAside: (locator) => setAside(data, locator),
        want: (locator, size) => healer.want(locator, size),
        positionFile: join(data, "scrub.json"),
        log,
      }),
    );
    const at = (endpoints: readonly string[]) => etcdClient(link, endpoints);
    const upkeep =
      api &&
      held.use(
        new EtcdUpkeep({
          node,
          api,
          at,
          voters: () => votersFor(nodes.all().length),
          log,
        }),
      );
    const all = held.move();
    return {
      meta,
      revisions: undefined,
      blobs,
      objects,
      recorder,
      foreign: undefined,
      bucket: undefined,
      presence,
      cluster: clusterNode({
        config: cluster,
        access,
        metadata,
        meta,
        presence,
        nodes,
        healer,
        upkeep,
        api,
        at,
        reach,
        purgeShadows: (before) => purgeShadows(local, before),
        answerForwarded: (next) => {
          answer = next;
        },
      }),
      forget: (revision) => engine.compact(revision),
      [Symbol.asyncDispose]: () => all.disposeAsync(),
    };
  });
}

/** Who is no node any more must not go on: bytes that it takes are not counted by anybody. */
function endingWhenRemoved(nodes: Nodes, lost: (reason: string) => void): () => void {
  let wasThere = false;
  return nodes.onChange(() => {
    const isThere = nodes.all().some(({ name }) => name === nodes.self);
    if (wasThere && !isThere) lost(`${nodes.self} was taken out of the cluster`);
    wasThere = isThere;
  });
}

/** Keeps a copy whose bytes have changed, out of the store. */
async function setAside(data: string, locator: Locator): Promise<void> {
  const directory = join(data, "rotten");
  await mkdir(directory, { recursive: true });
  await rename(join(data, locator), join(directory, basename(locator)));
}

/**
 * Who is reached at this node's address is this process: the one that was registered there is gone, and nobody needs
 * to wait until its beats are missed.
 */
async function buryFormer(
  { peers }: ClusterLink,
  { node, address }: ClusterConfig,
  own: { readonly meta: MetaStore; readonly presence: Presence; readonly store: string },
): Promise<void> {
  const { entries } = await own.meta.get([keys.node(node)]);
  const former = entries[0] && (JSON.parse(entries[0].value) as NodeRecord);
  if (former?.run === undefined || former.address !== address) return;
  try {
    const answer = await peers.fetch(address, "/v1/state", { method: "GET", timeoutMs: STATE_MS });
    const { store } = (await answer.json()) as { readonly store?: string };
    if (store === own.store) await own.presence.buried(former.run);
  } catch (error) {
    // Not to be reached from here, as behind some address translations.
    if (!(error instanceof PeerUnavailable)) throw error;
  }
}

/** Keeps where the nodes are, for the next start. Returns what ends it. */
function remembering(membership: Membership, nodes: Nodes, log: Logger): () => void {
  return nodes.onChange(() => {
    membership.remember(nodes.all()).catch((error: unknown) => {
      log.warn("the list of nodes could not be kept", { error: describe(error) });
    });
  });
}
