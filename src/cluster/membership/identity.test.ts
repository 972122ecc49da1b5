/** What a data directory says of its node, and when it must not be used. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Identity } from "./identity.ts";
import { membersOf, seatOf } from "./membership-fixture.ts";
import { seedsOf } from "./seeds.ts";

let data = "";
beforeEach(() => (data = fs.mkdtempSync(join(tmpdir(), "holdfast-identity-"))));
afterEach(() => fs.rmSync(data, { recursive: true, force: true }));

const { address, etcdPeer, etcdClient } = seatOf("n1", "");
const open = (node = "n1"): Promise<Identity> =>
  Identity.open({ data, node, place: { address, etcdPeer, etcdClient }, version: "1" });
const refusal = (node?: string): Promise<string> => open(node).then(String, String);
const start = { clusterId: "aa", state: "new", members: {}, hasRun: false } as const;

test("a store is minted once, and known to nobody else", async () => {
  const first = await open();
  expect(first.answer()).toMatchObject({ node: "n1", phase: "empty", store: first.record.store });
  expect((await open()).record).toEqual(first.record);
  expect(fs.statSync(join(data, "cluster.json")).mode & 0o777).toBe(0o600);
  expect(fs.readdirSync(data)).toEqual(["cluster.json"]);
});

test("what is saved is there after a restart", async () => {
  const identity = await open();
  await identity.save({ phase: "member", cluster: "00000000000000cc", etcd: start });
  expect((await open()).record).toEqual(identity.record);
  expect((await open()).record.phase).toBe("member");
});

test("changes at the same time all come to be", async () => {
  const identity = await open();
  const seats = ["n2", "n3", "n4"].map((name) => seatOf(name, "0000000000000001"));
  await Promise.all(seats.map((seat) => identity.seat(seat)));
  expect(identity.record.nodes).toEqual(seats);
  expect((await open()).record.nodes).toEqual(seats);
});

test("another node's directory is refused", async () => {
  await open();
  expect(await refusal("n2")).toBe(
    `MembershipError: ${data}/cluster.json is of node n1, and this node is called n2: ` +
      `set cluster.node to n1, or choose another data directory`,
  );
});

test("data of etcd without the file are nobody's", async () => {
  fs.mkdirSync(join(data, "etcd/member/wal"), { recursive: true });
  expect(await refusal()).toContain("cluster.json, which says whose they are, is missing");
});

test("a damaged file is not taken for an empty one", async () => {
  fs.writeFileSync(join(data, "cluster.json"), '{"format":1');
  expect(await refusal()).toContain("cluster.json is damaged or of a later version");
});

test("etcd without data is lost, unless it is to begin a cluster", async () => {
  const identity = await open();
  await identity.save({ phase: "member", cluster: "00000000000000cc", etcd: start });
  expect(identity.isLost).toBe(false);
  fs.mkdirSync(join(data, "etcd/member/wal"), { recursive: true });
  const again = await open();
  expect(again.record.etcd?.hasRun).toBe(true);
  expect(again.isLost).toBe(false);
  fs.rmSync(join(data, "etcd"), { recursive: true });
  expect((await open()).isLost).toBe(true);
  await identity.save({ etcd: { ...start, state: "existing" } });
  expect(identity.isLost).toBe(true);
});

test("seeds that contradict themselves are refused", () => {
  const options = { node: "n1", address, members: {}, join: [] };
  const said = (more: Partial<typeof options>) => () => seedsOf({ ...options, ...more });
  expect(said({})).toThrow("neither cluster.members nor cluster.join names a node");
  expect(said({ members: membersOf(["n2", "n3"]) })).toThrow("does not list this node, n1");
  expect(said({ members: { n1: "a:1", n2: "a:1" } })).toThrow("has a:1 for both n1 and n2");
  expect(seedsOf({ ...options, members: membersOf(["n1", "n2"]) })).toEqual([
    { name: "n2", address: "n2:5080" },
  ]);
});
