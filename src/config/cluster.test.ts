import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { parse } from "yaml";
import { loaderIn, refusalsOf, temporaryDirectory, type Given } from "./config-fixture.ts";
import { parseMembers, parsePeerAddress } from "./peer-address.ts";
import { printConfig } from "./print.ts";
import { clusterSections, hunter, longHunter, writeStoreFiles } from "./stores-fixture.ts";

const cwd = temporaryDirectory();
const load = loaderIn(cwd);
writeStoreFiles(cwd);
writeFileSync(join(cwd, "short.secret"), hunter);

function clusterOf(given: Given) {
  const { stores } = load(given).config;
  return stores.kind === "cluster" ? stores.cluster : undefined;
}
const inYaml = (tree: unknown) => clusterOf({ yaml: JSON.stringify(tree) });
const refusals = (given: Given): string[] => {
  const problems = refusalsOf(() => load(given), cwd);
  expect(problems.join()).not.toContain(hunter);
  return problems;
};

const members = `members: { n1: "10.0.0.1:5080", n2: "10.0.0.2:5080", n3: "10.0.0.3:5080" }`;
const secret = "secretFile: cluster.secret";
const least = `node: n1, ${members}, ${secret}`;

describe("what is written", () => {
  test("of the least, the rest is defaults; the host name's first part is the node's name", () => {
    const { config } = load({ yaml: `cluster: { ${members}, ${secret} }` });
    expect(config.shape).toBe("cluster");
    expect(config.stores).toEqual({
      kind: "cluster",
      cluster: {
        node: "n1",
        members: { n1: "10.0.0.1:5080", n2: "10.0.0.2:5080", n3: "10.0.0.3:5080" },
        join: [],
        address: "10.0.0.1:5080",
        listen: { host: "", port: 5080, loopback: false },
        secret: { text: longHunter, file: join(cwd, "cluster.secret") },
        copies: 3,
        durableCopies: 2,
        zone: undefined,
        downAfter: 600_000,
        etcd: {
          kind: "supervised",
          peerPort: 5081,
          clientPort: 5082,
          binary: undefined,
          heartbeat: 100,
          electionTimeout: 1000,
        },
        healing: { bytesPerSecond: 0 },
      },
    });
    expect("cluster" in config).toBe(false);
  });

  test("every key arrives", () => {
    expect(inYaml(clusterSections[0])).toEqual({
      node: "n2",
      members: { n1: "10.0.0.1:5080", n2: "n2.example.com:5090", n3: "[fd00::3]:5080" },
      join: [],
      address: "n2.example.com:5090",
      listen: { host: "10.0.0.2", port: 5080, loopback: false },
      secret: { text: longHunter, file: undefined },
      copies: 5,
      durableCopies: 4,
      zone: "rack-1",
      downAfter: 3_600_000,
      etcd: {
        kind: "supervised",
        peerPort: 6081,
        clientPort: 6082,
        binary: join(cwd, "tools/etcd"),
        heartbeat: 200,
        electionTimeout: 2000,
      },
      healing: { bytesPerSecond: 50_000_000 },
    });
    expect(inYaml(clusterSections[1])).toMatchObject({
      node: "n1",
      members: {},
      join: ["10.0.0.1:5080", "10.0.0.2:5080"],
      address: "127.0.0.4:5080",
      listen: { host: "127.0.0.4", port: 5080, loopback: true },
      etcd: {
        kind: "etcd",
        endpoints: ["https://a:2379", "https://b:2379"],
        prefix: "registry/",
        credentials: { username: "me", password: { text: longHunter } },
        tls: { client: { key: { file: join(cwd, "client.key") } } },
      },
    });
  });

  test("of variables, maps and lists are JSON", () => {
    const env = {
      HOLDFAST_CLUSTER_NODE: "n2",
      HOLDFAST_CLUSTER_MEMBERS: '{"n1":"10.0.0.1:5080","n2":"10.0.0.2:5080"}',
      HOLDFAST_CLUSTER_SECRET: longHunter,
      HOLDFAST_CLUSTER_ETCD: '{"peerPort":7001}',
      HOLDFAST_CLUSTER_ETCD_CLIENT_PORT: "7002",
      HOLDFAST_CLUSTER_HEALING_BYTES_PER_SECOND: "1MiB",
    };
    expect(clusterOf({ env })).toMatchObject({
      address: "10.0.0.2:5080",
      etcd: { peerPort: 7001, clientPort: 7002 },
      healing: { bytesPerSecond: 1_048_576 },
    });
    const joining = {
      HOLDFAST_CLUSTER_JOIN: "[::1]:5080",
      HOLDFAST_CLUSTER_ADDRESS: "[::1]:5090",
      HOLDFAST_CLUSTER_SECRET: longHunter,
    };
    expect(clusterOf({ env: joining })).toMatchObject({ join: ["[::1]:5080"] });
  });

  test.each([
    [1, 1],
    [2, 2],
    [3, 2],
    [4, 3],
    [5, 3],
    [7, 4],
  ])("of %p copies a majority is durable: %p", (copies, durableCopies) =>
    expect(clusterOf({ yaml: `cluster: { ${least}, copies: ${copies} }` })).toMatchObject({
      copies,
      durableCopies,
    }),
  );

  test("the shape may be asserted", () => {
    expect(load({ yaml: `shape: cluster\ncluster: { ${least} }` }).config.shape).toBe("cluster");
  });
});

describe("refused, each in one sentence", () => {
  const key = "cluster.";
  test.each([
    [
      members,
      `${key}secret: it is not set; set cluster.secretFile to a file that is the same on every node, made with \`openssl rand -hex 32\`.`,
    ],
    [
      `${members}, secretFile: short.secret`,
      `${key}secretFile: the secret has 15 bytes, and less than 32 can be guessed; make one with \`openssl rand -hex 32\`.`,
    ],
    [
      `${members}, secret: ${hunter}`,
      `${key}secret: the secret has 15 bytes, and less than 32 can be guessed; make one with \`openssl rand -hex 32\`.`,
    ],
    [
      `${members}, ${secret}, secret: ${longHunter}`,
      `${key}secretFile: cluster.secret is set too (c.yml:1); set only one of the two.`,
    ],
    [
      `${members}, secret: '(secret, 64 characters)'`,
      `${key}secret: it is what \`holdfast config print\` shows in place of the secret; write the secret itself.`,
    ],
    [
      secret,
      `${key}members: it is not set; name every node that forms the cluster, such as { n1: "10.0.0.1:5080" }, or set cluster.join on a node that comes later.`,
    ],
    [
      `${least}, join: "10.0.0.9:5080"`,
      `${key}join: cluster.members is set too; set only one of the two.`,
    ],
    [
      `join: "10.0.0.9:5080", ${secret}`,
      `${key}address: it is not set; write where the other nodes reach this one, such as "10.0.0.4:5080".`,
    ],
    [
      `node: n4, ${members}, ${secret}`,
      `${key}node: "n4" is not among cluster.members (n1, n2, n3); set it to one of them, or use cluster.join for a node that comes later.`,
    ],
    [
      `node: constructor, ${members}, ${secret}`,
      `${key}node: "constructor" is not among cluster.members (n1, n2, n3); set it to one of them, or use cluster.join for a node that comes later.`,
    ],
    [
      `node: N1, ${members}, ${secret}`,
      `${key}node: "N1" is not accepted; it takes lower-case letters, digits and "-" between them, at most 63, such as "n1".`,
    ],
    [
      `members: { n_1: "10.0.0.1:5080" }, ${secret}`,
      `${key}members: "n_1" is not accepted as a name; it takes lower-case letters, digits and "-" between them, at most 63, such as "n1".`,
    ],
    [
      `members: {}, ${secret}`,
      `${key}members: it names nobody; write every node, such as { n1: "10.0.0.1:5080" }.`,
    ],
    [
      `members: [n1], ${secret}`,
      `${key}members: ["n1"] is not accepted; it takes a map of names and addresses, such as {"n1":"10.0.0.1:5080"}.`,
    ],
    [
      `members: { n1: 5080 }, ${secret}`,
      `${key}members: {"n1":5080} is not accepted; it takes a map of names and addresses, such as {"n1":"10.0.0.1:5080"}.`,
    ],
    [
      `members: { n1: "a:5080", n2: "A:5080" }, ${secret}`,
      `${key}members: n1 and n2 have the same address a:5080; give each node its own.`,
    ],
    [
      `members: { n1: ":5080" }, ${secret}`,
      `${key}members: ":5080" is not where other nodes could reach a node; write host and port, such as "10.0.0.1:5080".`,
    ],
    [
      `${least}, address: "10.0.0.9:5080"`,
      `${key}address: cluster.members says 10.0.0.1:5080 of n1, which is another; write it in one place only.`,
    ],
    [
      `${least}, listen: ":0"`,
      `${key}listen: port 0 takes a free one, which the other nodes would not find; write one such as ":5080".`,
    ],
    [
      `${least}, copies: 2, durableCopies: 3`,
      `${key}durableCopies: it is 3, but cluster.copies is 2; write at most 2, or raise cluster.copies.`,
    ],
    [
      `${least}, copies: 8`,
      `${key}copies: 8 is not accepted; it takes a whole number from 1 to 7.`,
    ],
    [
      `${least}, zone: "rack 1"`,
      `${key}zone: "rack 1" is not accepted; it takes letters, digits, ".", "_" and "-", at most 63, such as "rack-1".`,
    ],
    [`${least}, downAfter: 10ms`, `${key}downAfter: "10ms" is too short; write at least 1s.`],
    [
      `${least}, copys: 3`,
      `${key}copys: this key is not known; the nearest known key is cluster.copies.`,
    ],
    [`${least}, listen: ":5000"`, `${key}listen: port 5000 is that of listen too; choose another.`],
    [
      `node: n1, members: { n1: "10.0.0.1:5090" }, ${secret}, listen: "127.0.0.1:5090"`,
      `${key}listen: port 5090 is that of metrics.listen too; choose another.`,
    ],
    [
      `node: n1, members: { n1: "10.0.0.1:5000" }, ${secret}`,
      `${key}members: port 5000 is that of listen too; choose another.`,
    ],
    [
      `${least}, etcd: { peerPort: 5080 }`,
      `${key}etcd.peerPort: port 5080 is that of cluster.members too; choose another.`,
    ],
    [
      `${least}, etcd: { clientPort: 5081 }`,
      `${key}etcd.clientPort: port 5081 is that of cluster.etcd.peerPort too; choose another.`,
    ],
    [
      `${least}, etcd: { heartbeat: 500ms }`,
      `${key}etcd.electionTimeout: it is less than 5 times cluster.etcd.heartbeat, which etcd does not take; raise it, or lower the other.`,
    ],
    [
      `${least}, etcd: { endpoints: "http://a:2379", peerPort: 5081 }`,
      `${key}etcd.peerPort: it is for the etcd that Holdfast starts, but cluster.etcd.endpoints names one of your own; set only one of the two.`,
    ],
    [
      `${least}, etcd: { tls: { ca: ca.pem } }`,
      `${key}etcd.tls.ca: it is for an etcd of your own; set cluster.etcd.endpoints, or remove it.`,
    ],
    [
      `${least}, etcd: { endpoints: "http://a:2379", tls: { ca: ca.pem } }`,
      `${key}etcd.tls.ca: "http://a:2379" is not encrypted; write https for every endpoint, or remove cluster.etcd.tls.`,
    ],
  ])("cluster: { %s }", (yaml, sentence) =>
    expect(refusals({ yaml: `cluster: { ${yaml} }` })).toEqual([`c.yml:1: ${sentence}`]),
  );

  const both =
    "cluster is set too, which keeps metadata and bytes on the nodes' own disks; set only one of the two.";
  test.each([
    ["storage: { s3: { bucket: images } }", [`storage.s3: ${both}`]],
    [
      "metadata: { etcd: { endpoints: 'http://a' } }\nstorage: { storj: { bucket: images } }",
      [`metadata.etcd: ${both}`, `storage.storj: ${both}`],
    ],
    ["metadata: { postgres: { url: 'postgres://me@db' } }", [`metadata.postgres: ${both}`]],
    [
      "shape: shared",
      [
        "shape: the section cluster makes it a cluster; write shape: cluster, or remove that section.",
      ],
    ],
  ])("%s beside it", (yaml, sentences) =>
    expect(
      refusals({ yaml: `${yaml}\ncluster: { ${least} }` }).map((line) =>
        line.replace(/^c\.yml:\d: /, ""),
      ),
    ).toEqual(sentences),
  );

  test("a variable of a bucket beside it, which names both", () => {
    const env = { HOLDFAST_STORAGE_S3_BUCKET: "images" };
    expect(refusals({ env, yaml: `cluster: { ${least} }` })).toEqual([
      `HOLDFAST_STORAGE_S3_BUCKET: storage.s3: ${both}`,
    ]);
  });

  test.each([
    [
      "shape: cluster",
      "shape: there is no section cluster; set cluster.members, or write another shape.",
    ],
    [
      "cluster: {}",
      "cluster: it says nothing; set cluster.members, or cluster.join on a node that comes later, or remove the section.",
    ],
    ["join: x", "join: this key is not known; the nearest known key is cluster.join."],
  ])("%s", (yaml, sentence) => expect(refusals({ yaml })).toEqual([`c.yml:1: ${sentence}`]));

  test("a host name that makes no name of a node", () => {
    const machine = {
      platform: "linux",
      cores: 1,
      installedData: "/nowhere",
      hostName: "my_host.example.com",
    };
    expect(refusals({ machine, yaml: `cluster: { ${members}, ${secret} }` })).toEqual([
      'c.yml:1: cluster.node: it is not set, and the host name "my_host.example.com" makes no name of a node; set it, to lower-case letters, digits and "-" between them, at most 63, such as "n1".',
    ]);
  });
});

test("what is printed is a file that gives the same again, without a secret in it", () => {
  for (const tree of clusterSections) {
    const { config, sources } = load({ yaml: JSON.stringify(tree) });
    const text = printConfig(config, sources);
    expect(text).not.toContain(hunter);
    const { auth, ...again } = load({
      yaml: text.replaceAll('"(secret, 47 characters)"', longHunter),
    }).config;
    expect({ ...again, auth: { ...auth, because: "reachable" } }).toEqual(config);
  }
  const [first] = clusterSections;
  const { config, sources } = load({ yaml: JSON.stringify(first) });
  const text = printConfig(config, sources);
  expect(text).toContain(`n3: "[fd00::3]:5080"} # ${cwd}/c.yml:1\n`);
  expect(parse(text)).toMatchObject({
    shape: "cluster",
    cluster: { secret: "(secret, 47 characters)", downAfter: "1h" },
  });
});

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
const port = fc.integer({ min: 1, max: 65_535 });
const host = fc.oneof(
  label.filter((text) => !/^\d+$/.test(text)),
  fc.ipV4().filter((text) => text !== "0.0.0.0"),
);

test("an address is read as it is written, and its own text again the same", () => {
  fc.assert(
    fc.property(host, port, (name, number) => {
      const text = `${name}:${number}`;
      expect(parsePeerAddress(text)).toEqual({ value: text });
    }),
  );
  for (const text of ["", ":1", "0.0.0.0:1", "[::]:1", "a", "a:0", "a:70000", "http://a:1", "1:1"])
    expect(parsePeerAddress(text)).toHaveProperty("problem");
});

test("members are accepted just when no two have one address", () => {
  fc.assert(
    fc.property(fc.dictionary(label, fc.tuple(host, port), { minKeys: 1 }), (nodes) => {
      const written = Object.fromEntries(
        Object.entries(nodes).map(([name, [at, number]]) => [name, `${at}:${number}`]),
      );
      const distinct = new Set(Object.values(written)).size === Object.keys(written).length;
      const parsed = parseMembers(written);
      if (distinct) expect(parsed).toEqual({ value: written });
      else expect(parsed).toHaveProperty("problem");
    }),
  );
});
