/** Nodes of a cluster as far as membership goes: a peer port each, and an etcd as its own process. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fields, Logger } from "../../../src/base/log.ts";
import {
  EtcdProcess,
  EtcdUpkeep,
  etcdUrl,
  listMembers,
  type EtcdOptions,
  type EtcdMember,
} from "../../../src/cluster/etcd/index.ts";
import {
  openMembership,
  recoverAlone,
  type Membership,
  type Place,
  type Recovery,
} from "../../../src/cluster/membership/index.ts";
import {
  ClusterCertificates,
  clusterKeys,
  connectPeers,
  servePeers,
} from "../../../src/cluster/peer/index.ts";
import { EtcdClient } from "../../../src/meta/etcd/client.ts";
import { freePort, until } from "../../support/processes.ts";

/** Most that vote in any of these clusters. */
const VOTERS = 3;
const HOST = "127.0.0.1";
const SECRET = "one secret for all the nodes of this test";

export interface NodeOptions {
  readonly name: string;
  readonly at: Addresses;
  /** Port that it listens at, where that is not the one of its address. */
  readonly listen?: number;
  readonly members?: Readonly<Record<string, string>>;
  readonly join?: readonly string[];
  readonly secret?: string;
  /** Default: by name. */
  readonly directory?: string;
}

export interface Addresses {
  /** Of the peer port. */
  readonly address: string;
  readonly etcdPeer: string;
  readonly etcdClient: string;
}

/** `127.0.0.1:port` each. */
export function freeAddresses(): Addresses {
  const at = (): string => `${HOST}:${freePort()}`;
  return { address: at(), etcdPeer: at(), etcdClient: at() };
}

/** Directories and running nodes of one test. */
export class Playground implements AsyncDisposable {
  readonly home: string = mkdtempSync(join(tmpdir(), "holdfast-membership-"));
  readonly #nodes = new Set<TestNode>();

  /** Starts it, without waiting for it to enter. */
  async start(options: NodeOptions): Promise<TestNode> {
    const data = join(this.home, options.directory ?? options.name);
    const node = await TestNode.start(options, data);
    this.#nodes.add(node);
    return node;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#nodes].map((node) => node.stop()));
    rmSync(this.home, { recursive: true, force: true });
  }
}

export class TestNode {
  readonly options: NodeOptions;
  readonly data: string;
  readonly lines: string[] = [];
  readonly membership: Membership;
  /** Resolves once its etcd has a leader. */
  readonly entered: Promise<Place>;
  readonly #stop = new AbortController();
  readonly #owned = new AsyncDisposableStack();
  readonly #log: Logger;
  readonly #certificates: ClusterCertificates;

  static async start(options: NodeOptions, data: string): Promise<TestNode> {
    const { name, at, members = {}, join = [], secret = SECRET } = options;
    const port = options.listen ?? Number(at.address.split(":")[1]);
    const lines: string[] = [];
    const log = recorder(lines);
    const keys = clusterKeys(secret);
    const certificates = new ClusterCertificates({ keys, node: name, hosts: [HOST] });
    const peers = connectPeers({ keys, certificates, self: name });
    const server = servePeers({ address: { hostname: HOST, port }, certificates, keys, log });
    const close = async (): Promise<void> => {
      peers[Symbol.dispose]();
      certificates[Symbol.dispose]();
      await server.close(0);
    };
    try {
      const membership = await openMembership({
        data,
        node: name,
        ...at,
        members,
        join,
        peers,
        version: "test",
        log,
        everyMs: 100,
      });
      server.setHandlers(membership.handlers);
      return new TestNode(options, data, lines, log, membership, certificates, close);
    } catch (error) {
      await close();
      throw error;
    }
  }

  private constructor(
    options: NodeOptions,
    data: string,
    lines: string[],
    log: Logger,
    membership: Membership,
    certificates: ClusterCertificates,
    close: () => Promise<void>,
  ) {
    this.options = options;
    this.data = data;
    this.lines = lines;
    this.#log = log;
    this.membership = membership;
    this.#certificates = certificates;
    this.#owned.defer(close);
    this.entered = this.#enter();
    this.entered.catch(() => {});
  }

  get api(): EtcdClient {
    const clients = this.membership.nodes.map(({ etcdClient }) => etcdUrl(etcdClient));
    return new EtcdClient({ endpoints: clients, tls: this.#certificates.current() });
  }

  /** Its own etcd and no other. */
  get ownApi(): EtcdClient {
    const endpoints = [etcdUrl(this.options.at.etcdClient)];
    return new EtcdClient({ endpoints, tls: this.#certificates.current() });
  }

  /** Names of the voters, as any member knows them, in order. */
  async voters(): Promise<string[]> {
    const members = await this.members();
    return members.flatMap(({ isLearner, name }) => (isLearner ? [] : [name])).sort();
  }

  /** A learner does not tell. */
  members(): Promise<EtcdMember[]> {
    const { api } = this;
    return listMembers({ call: (path, body, ms) => api.callAny(path, body, ms) });
  }

  waits(sentence: RegExp, ms = 5000): Promise<void> {
    const isSaid = (): boolean => this.lines.some((line) => sentence.test(line));
    return until(isSaid, ms, `${this.options.name} to say ${String(sentence)}`);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.entered.catch(() => {});
    await this.#owned.disposeAsync();
  }

  /** Stops it and empties its disk. */
  async wipe(): Promise<void> {
    await this.stop();
    rmSync(this.data, { recursive: true, force: true });
  }

  /** As the command does on a node that is stopped. */
  recover(): Promise<Recovery> {
    const { name, at } = this.options;
    const { data } = this;
    const etcd = this.#etcdOptions({ clusterId: "unused", state: "existing", members: {} });
    const log = this.#log;
    return recoverAlone({
      data,
      node: name,
      place: at,
      version: "test",
      etcd,
      api: this.ownApi,
      log,
    });
  }

  async #enter(): Promise<Place> {
    const { name } = this.options;
    const place = await this.membership.enter(this.#stop.signal);
    if (place.etcd === undefined) return place;
    await this.#certificates.writePem(join(this.data, "etcd-tls"));
    const etcd = this.#etcdOptions(place.etcd);
    const process = await EtcdProcess.start({ log: this.#log, etcd });
    this.#owned.defer(() => process.stop(1000));
    const tls = this.#certificates.current();
    const upkeep = new EtcdUpkeep({
      node: name,
      api: this.api,
      at: (endpoints) => new EtcdClient({ endpoints, tls }),
      voters: () => VOTERS,
      log: this.#log,
      everyMs: 200,
    });
    this.#owned.use(upkeep);
    const leads = (): boolean => upkeep.health().leader !== undefined;
    await until(() => this.#stop.signal.aborted || leads(), 20_000, `a leader for ${name}`);
    this.#stop.signal.throwIfAborted();
    await this.membership.etcdRuns(this.api);
    return place;
  }

  #etcdOptions(start: Pick<EtcdOptions, "clusterId" | "state" | "members">): EtcdOptions {
    const { name, at } = this.options;
    const both = (address: string) => ({ listen: address, advertise: address });
    const file = (pem: string): string => join(this.data, "etcd-tls", `${pem}.pem`);
    return {
      name,
      data: join(this.data, "etcd"),
      ...start,
      peer: both(at.etcdPeer),
      client: both(at.etcdClient),
      tls: { ca: file("ca"), cert: file("cert"), key: file("key") },
    };
  }
}

function recorder(lines: string[]): Logger {
  const at =
    (level: string) =>
    (message: string, fields: Fields = {}) =>
      void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  const [debug, info, warn, error] = [at("debug"), at("info"), at("warn"), at("error")];
  return { debug, info, warn, error, request: () => {} };
}
