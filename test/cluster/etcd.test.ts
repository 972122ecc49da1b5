/** The supervised etcd, with real processes and certificates of the cluster. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fields, Logger } from "../../src/base/log.ts";
import { etcdArguments, type EtcdOptions } from "../../src/cluster/etcd/flags.ts";
import {
  addLearner,
  type EtcdMember,
  EtcdProcess,
  etcdUrl,
  EtcdUpkeep,
  isHealthy,
  listMembers,
  MembershipRefused,
  memberStatus,
  promoteMember,
  removeMember,
} from "../../src/cluster/etcd/index.ts";
import { ClusterCertificates, type PemFiles } from "../../src/cluster/peer/certificates.ts";
import { clusterKeys } from "../../src/cluster/peer/secret.ts";
import { EtcdClient } from "../../src/meta/etcd/client.ts";
import { describeEtcd } from "../support/etcd.ts";
import { alive, BUN, freePort, signal, until } from "../support/processes.ts";

const encode = (text: string): string => Buffer.from(text).toString("base64");

/** Remembers everything, as `level message fields`. */
function recorder(): { readonly log: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const at =
    (level: string) =>
    (message: string, fields: Fields = {}) =>
      void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  const [debug, info, warn, error] = [at("debug"), at("info"), at("warn"), at("error")];
  return { log: { debug, info, warn, error, request: () => {} }, lines };
}

let home = "";
let tls: PemFiles;
/** PEM texts, as a client takes them. */
let texts: { readonly ca: string; readonly cert: string; readonly key: string };

async function makeCertificates(): Promise<void> {
  home = mkdtempSync(join(tmpdir(), "holdfast-cluster-etcd-"));
  const keys = clusterKeys("a secret for this test, thirty-two bytes and more");
  using certificates = new ClusterCertificates({ keys, node: "n1", hosts: ["127.0.0.1"] });
  texts = certificates.current();
  tls = await certificates.writePem(join(home, "tls"));
}

const clientOf = (endpoints: readonly string[]) => new EtcdClient({ endpoints, tls: texts });

/** A member that is not started yet. */
class Node {
  readonly name: string;
  readonly peer: string = `127.0.0.1:${freePort()}`;
  readonly client: string = `127.0.0.1:${freePort()}`;
  readonly recorder: ReturnType<typeof recorder> = recorder();
  process: EtcdProcess | undefined;
  upkeep: EtcdUpkeep | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Asks this member. */
  get own(): EtcdClient {
    return clientOf([etcdUrl(this.client)]);
  }

  options(nodes: readonly Node[], more: Partial<EtcdOptions> = {}): EtcdOptions {
    return {
      name: this.name,
      data: join(home, this.name),
      clusterId: "test",
      state: "new",
      members: Object.fromEntries(nodes.map(({ name, peer }) => [name, peer])),
      peer: { listen: this.peer, advertise: this.peer },
      client: { listen: this.client, advertise: this.client },
      tls,
      ...more,
    };
  }

  async start(etcd: EtcdOptions, binary?: string): Promise<EtcdProcess> {
    this.process = await EtcdProcess.start({ binary, etcd, log: this.recorder.log });
    return this.process;
  }

  look(nodes: readonly Node[], voters: () => number, quotaBytes?: number): EtcdUpkeep {
    this.upkeep = new EtcdUpkeep({
      node: this.name,
      api: clientOf(nodes.map(({ client }) => etcdUrl(client))),
      at: clientOf,
      voters,
      log: this.recorder.log,
      everyMs: 200,
      ...(quotaBytes === undefined ? {} : { quotaBytes }),
    });
    return this.upkeep;
  }

  /** It serves, and follows a leader. */
  serves(): Promise<boolean> {
    return memberStatus(this.own).then(
      ({ leader }) => leader !== undefined,
      () => false,
    );
  }

  async end(): Promise<void> {
    await this.upkeep?.[Symbol.asyncDispose]();
    await this.process?.stop();
  }
}

const put = (api: EtcdClient, key: string, value: string, ms = 5000) =>
  api.call("/v3/kv/put", { key: encode(key), value: encode(value) }, ms);

/** What this very member has. */
async function readLocally({ own }: Node, key: string): Promise<string | undefined> {
  const range = { key: encode(key), serializable: true };
  const { kvs } = await own.call<{ kvs?: { value: string }[] }>("/v3/kv/range", range, 1000);
  return kvs?.[0] && Buffer.from(kvs[0].value, "base64").toString();
}

const failure = (asked: Promise<unknown>): Promise<string> =>
  asked.then(
    () => "done",
    (error: unknown) => String(error),
  );
/** The kind of it. */
const refusal = (change: Promise<unknown>): Promise<string> =>
  change.then(
    () => "done",
    (error: unknown) => (error instanceof MembershipRefused ? error.kind : String(error)),
  );

describeEtcd("supervised etcd", () => {
  beforeAll(makeCertificates);
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  describe("three members", () => {
    const nodes = [new Node("n1"), new Node("n2"), new Node("n3")] as const;
    const [n1, n2, n3] = nodes;
    let voters = 3;
    let any: EtcdClient;

    beforeAll(async () => {
      any = clientOf([n1, n2].map(({ client }) => etcdUrl(client)));
      await Promise.all(nodes.map((node) => node.start(node.options(nodes))));
      for (const node of nodes) node.look(nodes, () => voters);
      await until(() => nodes.every(isWell), 20_000, "three healthy members");
    }, 30_000);
    afterAll(() => Promise.all(nodes.map((node) => node.end())), 30_000);

    /** All three are well in the eyes of this one. */
    const isWell = ({ upkeep }: Node): boolean => {
      const { members = [], leader } = upkeep?.health() ?? {};
      return members.length === 3 && members.every((member) => isHealthy(member, leader));
    };

    test("are told apart in health", () => {
      for (const { name, upkeep } of nodes) {
        expect(upkeep?.health().own?.name).toBe(name);
        expect(upkeep?.health().alarms).toEqual([]);
        expect(upkeep?.health().own?.status?.dbBytes).toBeGreaterThan(0);
      }
    });

    test("take large values and transactions, and serve nobody without a certificate", async () => {
      await put(any, "large", "x".repeat(5 * 2 ** 20));
      const success = Array.from({ length: 1024 }, (_, n) => ({
        request_put: { key: encode(`many/${n}`), value: encode("v") },
      }));
      await any.call("/v3/kv/txn", { success }, 5000);

      const stranger = new EtcdClient({ endpoints: [etcdUrl(n1.client)], tls: { ca: texts.ca } });
      const status = await failure(stranger.call("/v3/maintenance/status", {}, 1000));
      expect(status).toContain("client certificates");
      const peer = await failure(fetch(`${etcdUrl(n1.peer)}/members`, { tls: { ca: texts.ca } }));
      expect(peer).toMatch(/TLS handshake failed|ECONNRESET/);
      expect(await failure(fetch(`http://${n1.client}/health`))).toContain("ECONNRESET");
    });

    test("a killed one is started again, and is well again", async () => {
      const killed = n2.process?.pid ?? 0;
      signal(killed, "SIGKILL");
      await until(
        () => n2.process?.pid !== undefined && n2.process.pid !== killed,
        5000,
        "another process",
      );
      // What a dead leader was told is lost: it is said again.
      const written = () =>
        put(any, "meanwhile", "written", 1000).then(
          () => true,
          () => false,
        );
      await until(written, 10_000, "a write");
      await until(() => n2.serves(), 10_000, "n2 to serve");
      await until(() => nodes.every(isWell), 10_000, "all to be well");
      expect(await readLocally(n2, "meanwhile")).toBe("written");
      expect(n2.process?.state()).toMatchObject({
        kind: "running",
        restarts: 1,
        lastEnd: expect.stringContaining("SIGKILL"),
      });
      expect(n2.recorder.lines.join("\n")).toContain("error etcd ended and is started again");
    }, 30_000);

    test("a wiped one is removed, added as a learner, filled, and votes once it may", async () => {
      const gone = n3.upkeep?.health().own?.id ?? "";
      await n3.end();
      rmSync(join(home, "n3"), { recursive: true });
      await put(any, "while it was away", "written");
      expect(await refusal(removeMember(any, "42"))).toBe("not-found");
      await removeMember(any, gone);
      expect(await refusal(removeMember(any, gone))).toBe("not-found");
      await until(
        async () => (await listMembers(n1.own)).length === 2,
        5000,
        "the member to be gone",
      );
      await until(() => n1.upkeep?.health().leader !== undefined, 5000, "the two to have a leader");

      voters = 2;
      // etcd looks at its connections for some seconds before it lets anybody in.
      let learner: EtcdMember | undefined;
      const add = async () => {
        learner = await addLearner(any, etcdUrl(n3.peer)).catch(() => undefined);
        return learner !== undefined;
      };
      await until(add, 15_000, "a learner to be added");
      const id = learner?.id ?? "";
      expect(learner).toMatchObject({ name: "", isLearner: true, peerUrls: [etcdUrl(n3.peer)] });
      expect(await refusal(addLearner(any, etcdUrl(n2.peer)))).toBe("exists");
      expect(await refusal(addLearner(any, "https://127.0.0.1:1"))).toBe("too-many-learners");
      expect(await refusal(promoteMember(any, id))).toBe("not-in-sync");
      const voter = n1.upkeep?.health().own?.id ?? "";
      expect(await refusal(promoteMember(any, voter))).toBe("not-a-learner");

      await n3.start(n3.options(nodes, { state: "existing" }));
      await until(() => n3.serves(), 10_000, "n3 to serve");
      n3.look(nodes, () => voters);
      const own = () => n3.upkeep?.health().own;
      await until(() => own()?.status?.isLearner === true, 10_000, "n3 to be seen as a learner");
      await until(
        async () => (await readLocally(n3, "while it was away")) === "written",
        10_000,
        "n3 to be filled",
      );
      // Long enough for each upkeep to have looked again.
      await Bun.sleep(600);
      expect((await listMembers(any)).find((member) => member.id === id)?.isLearner).toBe(true);

      voters = 3;
      await until(() => own()?.isLearner === false, 10_000, "n3 to vote");
      await until(() => nodes.every(isWell), 10_000, "all to be well");
      const told = nodes.flatMap(({ recorder: { lines } }) => lines);
      expect(told.filter((line) => line.includes("a learner votes from now on"))).toHaveLength(1);
    }, 60_000);

    test("one that was removed is not started again", async () => {
      const { upkeep, process } = n3;
      // Until both others have been connected for a while, etcd keeps it.
      const remove = async () => {
        const asked = await refusal(removeMember(any, upkeep?.health().own?.id ?? ""));
        return asked === "done" || asked === "not-found";
      };
      await until(remove, 15_000, "n3 to be removed");
      await until(() => process?.state().kind === "removed", 10_000, "n3 to know it");
      expect(process?.pid).toBeUndefined();
      expect(n3.recorder.lines.at(-1)).toContain("the other members have removed this one");
    }, 30_000);

    test("without a majority there is no leader in health", async () => {
      await n2.process?.stop();
      await until(() => n1.upkeep?.health().leader === undefined, 10_000, "the leader to be lost");
      expect(n1.upkeep?.health().members).toHaveLength(2);
    }, 30_000);
  });

  describe("one member", () => {
    test("that nobody ended in an earlier run is ended before the next starts", async () => {
      await using stack = new AsyncDisposableStack();
      const node = new Node("leftover");
      stack.defer(() => node.end());
      const options = node.options([node]);
      const earlier = Bun.spawn(["etcd", ...etcdArguments(options, "3.4.23")], {
        stdio: ["ignore", "ignore", "ignore"],
      });
      stack.defer(() => earlier.kill("SIGKILL"));
      await until(() => node.serves(), 10_000, "the earlier one to serve");

      const process = await node.start(options);
      expect(alive(earlier.pid)).toBe(false);
      await until(() => node.serves(), 10_000, "the next one to serve");
      expect(process.state().restarts).toBe(0);
      expect(node.recorder.lines.join("\n")).toContain(`"ended":[${earlier.pid}]`);
    }, 30_000);

    test.skipIf(Bun.which("setpriv") === null)(
      "ends when its parent is killed",
      async () => {
        const node = new Node("orphan");
        const code = `
          const { EtcdProcess } = await import(${JSON.stringify(join(import.meta.dir, "../../src/cluster/etcd/index.ts"))});
          const log = { debug() {}, info() {}, warn() {}, error() {}, request() {} };
          const etcd = await EtcdProcess.start({ log, etcd: ${JSON.stringify(node.options([node]))} });
          console.log(etcd.pid);
          setInterval(() => {}, 1000);`;
        const parent = Bun.spawn([BUN, "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
        const { value } = await parent.stdout.getReader().read();
        const pid = Number(new TextDecoder().decode(value));
        await until(() => node.serves(), 10_000, "the orphan to serve");
        expect(alive(pid)).toBe(true);
        parent.kill("SIGKILL");
        await until(() => !alive(pid), 10_000, "etcd to end");
      },
      30_000,
    );

    test("that is frozen ends too, after its patience", async () => {
      const node = new Node("frozen");
      const process = await node.start(node.options([node]));
      await until(() => node.serves(), 10_000, "it to serve");
      const pid = process.pid ?? 0;
      signal(pid, "SIGSTOP");
      await process.stop(300);
      expect(alive(pid)).toBe(false);
      expect(process.state().kind).toBe("stopped");
      expect(process.state().lastEnd).toBeUndefined();
    }, 30_000);

    test("that cannot start is tried again, and the cause is told", async () => {
      await using stack = new AsyncDisposableStack();
      const node = new Node("hindered");
      stack.defer(() => node.end());
      const port = Number(node.client.split(":")[1]);
      const taken = Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } });
      stack.defer(() => taken.stop(true));
      const process = await node.start(node.options([node]));
      await until(() => process.state().restarts > 1, 10_000, "two more tries");
      expect(process.state().lastEnd).toMatch(/exit code 1: .*address already in use/);
      expect(node.recorder.lines.join("\n")).toMatch(
        /etcd ended and is started again \{"end":"exit code 1: [^"]*address already in use","inSeconds":0.4\}/,
      );
      taken.stop(true);
      await until(() => node.serves(), 15_000, "it to serve");
    }, 30_000);

    test("is started from the program that is there by then", async () => {
      await using stack = new AsyncDisposableStack();
      const node = new Node("upgraded");
      stack.defer(() => node.end());
      const path = join(home, "etcd-program");
      const install = (version: string) => {
        const text = `#!/bin/sh\n[ "$1" = --version ] && echo "etcd Version: ${version}" && exit\nexec etcd "$@"\n`;
        writeFileSync(path, text);
        chmodSync(path, 0o755);
      };
      install("3.4.23");
      const process = await node.start(node.options([node]), path);
      expect(process.state().version).toBe("3.4.23");
      const before = process.pid ?? 0;
      install("3.5.1");
      signal(before, "SIGTERM");
      const refused = () => node.recorder.lines.some((line) => line.includes("3.5.1 at"));
      await until(refused, 5000, "the unfit program to be refused");
      expect(process.state().kind).toBe("waiting");
      install("3.5.21");
      await until(() => node.serves(), 10_000, "it to serve");
      expect(process.state().version).toBe("3.5.21");
      const command = readFileSync(`/proc/${process.pid}/cmdline`, "utf8").split("\0");
      expect(command[0]).toBe("etcd");
    }, 30_000);

    test("that was full gives its space back and takes writes again", async () => {
      await using stack = new AsyncDisposableStack();
      const node = new Node("full");
      stack.defer(() => node.end());
      const quotaBytes = 16 * 2 ** 20;
      await node.start(node.options([node], { quotaBytes }));
      await until(() => node.serves(), 10_000, "it to serve");
      const fill = async () => {
        for (let n = 0; n < 40; n++) await put(node.own, "key", "x".repeat(2 ** 20));
      };
      expect(await failure(fill())).toContain("quota");
      await until(
        async () => (await memberStatus(node.own)).alarms.includes("NOSPACE"),
        10_000,
        "the alarm",
      );
      const upkeep = node.look([node], () => 1, quotaBytes);
      await until(() => upkeep.health().alarms.includes("NOSPACE"), 5000, "health to tell it");
      const full = upkeep.health().own?.status?.dbBytes ?? 0;
      expect(upkeep.health().leader).toBeDefined();

      const { header } = await node.own.call<{ header: { revision: string } }>(
        "/v3/kv/range",
        { key: encode("key"), keys_only: true },
        5000,
      );
      // etcd counts what a compaction frees when it writes the next time.
      for (const older of [5, 0]) {
        const revision = String(Number(header.revision) - older);
        await node.own.call("/v3/kv/compaction", { revision, physical: true }, 5000);
      }
      // What is given back while the compaction is under way may not be enough: then there is another turn.
      await until(() => upkeep.health().alarms.length === 0, 30_000, "the alarm to go");
      expect(upkeep.health().own?.status?.dbBytes).toBeLessThan(full);
      expect(node.recorder.lines.join("\n")).toContain("giving free space back");
      await put(node.own, "key", "after");
    }, 60_000);
  });
});
