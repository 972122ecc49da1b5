import { describe, expect, test } from "bun:test";
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { anonymousRefusal } from "./config.ts";
import { loaderIn, refusalsOf, temporaryDirectory, type Given } from "./config-fixture.ts";

const cwd = temporaryDirectory();
const load = loaderIn(cwd);
const refusals = (given: Given) => refusalsOf(() => load(given), cwd);

describe("with nothing given", () => {
  test("everything is a default", () => {
    const { config, sources, notices } = load();
    expect(config).toEqual({
      shape: "solo",
      stores: { kind: "files" },
      collection: { grace: 86_400_000 },
      listen: [{ host: "", port: 5000, loopback: false }],
      data: join(cwd, "data"),
      workers: 4,
      metrics: { listen: { host: "127.0.0.1", port: 5090, loopback: true } },
      log: { level: "info", format: "auto", requests: true },
      tls: undefined,
      publicUrl: undefined,
      trustedProxies: [],
      auth: { anonymous: ["pull", "push"], because: "reachable" },
      validation: { missingBlobs: "reject", missingManifests: "accept" },
      drain: { timeout: 25_000 },
      uploads: { expiry: 86_400_000, purgeInterval: 3_600_000 },
      limits: {
        manifestBytes: 4_194_304,
        blobBytes: 0,
        referrersPageBytes: 4_194_304,
        descriptors: 10_000,
        jsonDepth: 64,
        tagsPerPush: 100,
        pageEntries: 10_000,
        catalogEntries: 1000,
        concurrentUploads: 512,
        uploadIdle: 60_000,
        uploadRate: 128,
      },
    });
    expect(new Set(sources.values())).toEqual(new Set(["default"]));
    expect(notices).toEqual([]);
  });

  test("it cannot be changed, at any depth", () => {
    const { config } = load();
    expect(() => Object.assign(config.limits, { descriptors: 1 })).toThrow(TypeError);
    expect(() => Object.assign(config.listen[0] ?? {}, { port: 1 })).toThrow(TypeError);
  });

  test("an installation keeps its data where it was installed, unless ./data is there", () => {
    const machine = {
      platform: "linux",
      cores: 1,
      installedData: join(cwd, "installed"),
      hostName: "n1",
    };
    mkdirSync(machine.installedData);
    expect(load({ machine }).config.data).toBe(machine.installedData);
    mkdirSync(join(cwd, "data"));
    expect(load({ machine }).config.data).toBe(join(cwd, "data"));
    rmdirSync(join(cwd, "data"));
    rmdirSync(machine.installedData);
    expect(load({ machine }).config.data).toBe(join(cwd, "data"));
  });

  test("elsewhere than on Linux there is one worker, and a wish for more is answered", () => {
    const machine = { platform: "darwin", cores: 8, installedData: "/nowhere", hostName: "n1" };
    expect(load({ machine }).config.workers).toBe(1);
    const asked = load({ machine, env: { HOLDFAST_WORKERS: "3" } });
    expect(asked.config.workers).toBe(1);
    expect(asked.notices).toEqual([expect.stringContaining("only on Linux")]);
  });
});

describe("precedence", () => {
  const yaml = "log:\n  level: error\n";
  const registry = { REGISTRY_LOG_LEVEL: "warn" };
  const own = { ...registry, HOLDFAST_LOG_LEVEL: "info" };
  test.each([
    [{ yaml }, "error", `${cwd}/c.yml:2`],
    [{ yaml, env: registry }, "warn", "REGISTRY_LOG_LEVEL (log.level)"],
    [{ yaml, env: own }, "info", "HOLDFAST_LOG_LEVEL"],
    [{ yaml, env: own, flags: { logLevel: "debug" } }, "debug", "--log-level"],
  ] as const)("%#", (given, level, source) => {
    const { config, sources } = load(given);
    expect(config.log.level).toBe(level);
    expect(sources.get("log.level")).toBe(source);
  });

  test("a section in one variable yields to the variable of a key", () => {
    const env = { HOLDFAST_LOG: '{"level":"warn","format":"json"}', HOLDFAST_LOG_LEVEL: "debug" };
    expect(load({ env }).config.log).toEqual({ level: "debug", format: "json", requests: true });
  });

  test("HOLDFAST_CONFIG names the file, --config another", () => {
    load({ yaml: "workers: 2" });
    const env = { HOLDFAST_CONFIG: "c.yml" };
    expect(load({ env }).config.workers).toBe(2);
    expect(refusals({ env, file: "other.yml" })[0]).toStartWith(
      "other.yml: the configuration file",
    );
  });
});

describe("values", () => {
  const variables = {
    HOLDFAST_LISTEN: '["127.0.0.1:1","[::1]:2"]',
    HOLDFAST_LIMITS_MANIFEST_BYTES: "8MiB",
    HOLDFAST_LIMITS_BLOB_BYTES: "1000",
    HOLDFAST_DATA: "7",
    HOLDFAST_LOG_REQUESTS: "false",
    HOLDFAST_METRICS_LISTEN: "off",
    HOLDFAST_TRUSTED_PROXIES: '["10.0.0.0/8"]',
    HOLDFAST_LIMITS_UPLOAD_IDLE: "2s",
  };
  test("of variables have the types of their keys", () => {
    const { config } = load({ env: variables });
    expect(config.listen.map(({ port }) => port)).toEqual([1, 2]);
    expect(config.limits).toMatchObject({
      manifestBytes: 8_388_608,
      blobBytes: 1000,
      uploadIdle: 2000,
    });
    expect(config.data).toBe(join(cwd, "7"));
    expect(config.log.requests).toBe(false);
    expect(config.metrics.listen).toBeUndefined();
    expect(config.trustedProxies).toEqual([{ address: "10.0.0.0", prefix: 8, family: "ipv4" }]);
  });

  test("a bare IPv6 address in a variable is no JSON list", () => {
    const env = { HOLDFAST_LISTEN: "[::1]:5000" };
    expect(load({ env }).config.listen).toEqual([{ host: "::1", port: 5000, loopback: true }]);
  });

  test("of flags too, repeated ones as a list", () => {
    const { config } = load({ flags: { listen: [":1", ":2"], workers: "2", data: "/srv/x" } });
    expect(config.listen.map(({ port }) => port)).toEqual([1, 2]);
    expect(config).toMatchObject({ workers: 2, data: "/srv/x" });
  });

  test("certificate paths become absolute", () => {
    const { config } = load({ yaml: "tls: { cert: a.pem, key: /k.pem }" });
    expect(config.tls).toEqual({ cert: join(cwd, "a.pem"), key: "/k.pem" });
  });

  test("an empty section is no section, and the catalog's page is never longer than a page", () => {
    const { config } = load({ yaml: "log:\nlimits: { pageEntries: 10 }" });
    expect(config.log.level).toBe("info");
    expect(config.limits.catalogEntries).toBe(10);
  });
});

describe("anonymous access", () => {
  test.each([
    ['listen: ["127.0.0.1:5000", "[::1]:5000", "localhost:1"]', "loopback", true],
    ['listen: ["127.0.0.1:5000", "10.0.0.1:5000"]', "reachable", false],
    ["auth: { anonymous: [delete, pull, push, pull] }", "written", true],
    ["auth: { anonymous: [pull, push] }\nlisten: localhost:1", "written", false],
  ] as const)("%s", (yaml, because, mayDelete) => {
    const { auth } = load({ yaml }).config;
    const anonymous = mayDelete ? ["pull", "push", "delete"] : ["pull", "push"];
    expect(auth as unknown).toEqual({ anonymous, because });
    expect(anonymousRefusal(auth, "delete") === undefined).toBe(mayDelete);
    expect(anonymousRefusal(auth, "pull")).toBeUndefined();
  });

  test("nothing at all may be allowed", () => {
    const { auth } = load({ yaml: "auth: { anonymous: [] }" }).config;
    expect(anonymousRefusal(auth, "pull")).toBe("pull is not listed in auth.anonymous");
  });

  test("the reason of a refusal names the remedy", () => {
    expect(anonymousRefusal(load().config.auth, "delete")).toContain(
      "auth: { anonymous: [pull, push, delete] }",
    );
  });
});

describe("refused, each in one sentence", () => {
  test.each([
    ["lisen: x", "c.yml:1: lisen: this key is not known; the nearest known key is listen."],
    [
      "log:\n  lvl: x",
      "c.yml:2: log.lvl: this key is not known; the nearest known key is log.level.",
    ],
    [
      "log.level: debug",
      "c.yml:1: log.level: keys are written nested, not with dots; put the last part below the first.",
    ],
    ["colour: red", "c.yml:1: colour: this key is not known; `holdfast config schema` lists all."],
    ["data:", "c.yml:1: data: it has no value; give it one, or remove the key."],
    ["log: debug", 'c.yml:1: log: this is not a map of keys; write "key: value" lines.'],
    ["- a", 'c.yml: this is not a map of keys; write "key: value" lines.'],
    ["workers: 0", "c.yml:1: workers: 0 is not accepted; it takes a whole number from 1 to 256."],
    [
      "workers: many",
      'c.yml:1: workers: "many" is not accepted; it takes a whole number from 1 to 256.',
    ],
    [
      "listen: 5000",
      'c.yml:1: listen: 5000 is not accepted; it takes an address such as ":5000", "127.0.0.1:5000" or "[::1]:5000", or a list of them.',
    ],
    [
      "listen: []",
      'c.yml:1: listen: [] is not accepted; it takes an address such as ":5000", "127.0.0.1:5000" or "[::1]:5000", or a list of them.',
    ],
    [
      "\nlisten:\n - :5000\n - nine",
      'c.yml:2: listen: "nine" is not an address to listen on; write ":5000" for every interface, "127.0.0.1:5000" or "[::1]:5000".',
    ],
    [
      "shape: alone",
      'c.yml:1: shape: "alone" is not accepted; it takes "solo", "shared" or "cluster".',
    ],
    [
      "auth: { anonymous: [admin] }",
      'c.yml:1: auth.anonymous: ["admin"] is not accepted; it takes a list of pull, push and delete.',
    ],
    ["uploads: { expiry: 1s }", 'c.yml:1: uploads.expiry: "1s" is too short; write at least 1m.'],
    [
      "limits: { manifestBytes: 1 }",
      "c.yml:1: limits.manifestBytes: 1 is too small; write at least 1024 bytes.",
    ],
    [
      "limits: { uploadIdle: 60 }",
      "c.yml:1: limits.uploadIdle: 60 is not accepted; it takes a duration such as 250ms, 30s, 10m, 24h or 7d.",
    ],
    [
      "tls: { cert: a.pem }",
      "c.yml:1: tls.cert: it is set without tls.key; set both, or none for plain HTTP.",
    ],
    [
      "tls: { key: a.pem }",
      "c.yml:1: tls.key: it is set without tls.cert; set both, or none for plain HTTP.",
    ],
    [
      'metrics: { listen: ":5000" }',
      "c.yml:1: metrics.listen: it is the same address as listen; choose another port for the metrics.",
    ],
    ...["auth:", "auth: {}"].map((yaml): [string, string] => [
      yaml,
      "c.yml:1: auth: it says nothing; write what anyone may do, such as anonymous: [pull], or remove the section.",
    ]),
    [
      "listen: :70000",
      'c.yml:1: listen: ":70000" has no port from 0 to 65535; write one such as ":5000".',
    ],
    ["listen: [':1', ':2', ':1']", "c.yml:1: listen: :1 is there twice; write each address once."],
    [
      "workers: 1\n---\nworkers: 2",
      'c.yml:2: a second YAML document begins here; write one document only, without "---" inside it.',
    ],
    ["a: 1\na: 2", "c.yml:2: this is not valid YAML (Map keys must be unique); correct it."],
  ])("%s", (yaml, sentence) => expect(refusals({ yaml })).toEqual([sentence]));

  test.each([
    [
      "HOLDFAST_LISTN",
      "x",
      "HOLDFAST_LISTN: this variable is not known; the nearest known one is HOLDFAST_LISTEN.",
    ],
    [
      "HOLDFAST_NOPE",
      "x",
      "HOLDFAST_NOPE: this variable is not known; `holdfast config schema` lists the keys that have one.",
    ],
    [
      "HOLDFAST_AUTH",
      "{}",
      "HOLDFAST_AUTH: auth: it says nothing; write what anyone may do, such as anonymous: [pull], or remove the section.",
    ],
    [
      "HOLDFAST_AUTH_ANONYMOUS",
      "pull,push",
      'HOLDFAST_AUTH_ANONYMOUS: auth.anonymous: "pull,push" is not accepted; it takes a list of pull, push and delete, in a variable as JSON: \'["pull","push"]\'.',
    ],
    [
      "HOLDFAST_DATA",
      "",
      "HOLDFAST_DATA: data: it is set but empty; give it a value, or unset it.",
    ],
    [
      "HOLDFAST_CONFIG",
      "",
      "HOLDFAST_CONFIG: it is empty; give it the path of a file, or leave it out.",
    ],
    [
      "HOLDFAST_LOG",
      "debug",
      'HOLDFAST_LOG: log: it holds keys; write them as a JSON map such as {"key":"value"}.',
    ],
    [
      "HOLDFAST_LOG",
      '{"lvl":1}',
      "HOLDFAST_LOG: log.lvl: this key is not known; the nearest known key is log.level.",
    ],
    [
      "HOLDFAST_WORKERS",
      "x",
      'HOLDFAST_WORKERS: workers: "x" is not accepted; it takes a whole number from 1 to 256.',
    ],
  ])("%s=%s", (name, value, sentence) =>
    expect(refusals({ env: { [name]: value } })).toEqual([sentence]),
  );

  test("an empty flag", () => {
    expect(refusals({ flags: { data: "" } })).toEqual([
      "--data: data: it is empty; give it a value, or leave it out.",
    ]);
  });

  test("all problems of all sources at once", () => {
    const problems = refusals({
      yaml: "a: 1\nb: 2",
      env: { HOLDFAST_C: "3" },
      flags: { workers: "0" },
    });
    expect(problems.map((problem) => problem.split(":")[0])).toEqual([
      "c.yml",
      "c.yml",
      "HOLDFAST_C",
      "--workers",
    ]);
  });

  test("a file of aliases that would grow without bound", () => {
    const lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"];
    for (let n = 0; n < 8; n++) {
      const [from, to] = ["abcdefghi"[n], "abcdefghi"[n + 1]];
      lines.push(`${to}: &${to} [${Array(10).fill(`*${from}`).join(", ")}]`);
    }
    expect(refusals({ yaml: lines.join("\n") })[0]).toContain("is not usable YAML");
  });
});

describe("sections of later versions stop the start", () => {
  test.each([
    ["auth: { htpasswd: { file: /x } }", "auth"],
    ["auth: { rules: [] }", "auth"],
    ["tls: { cert: a, key: b, clientCas: [c] }", "tls.clientCas"],
    ["proxy: { remoteurl: x }", "proxy"],
  ])("%s", (yaml, section) => {
    const [sentence, ...more] = refusals({ yaml });
    expect(sentence).toContain(`: ${section} is not supported by this version: `);
    expect(sentence).toContain("refuses to start rather than");
    expect(more).toEqual([]);
  });

  test.each([
    ["HOLDFAST_AUTH_HTPASSWD_FILE", "auth"],
    ["HOLDFAST_TLS_CLIENT_CAS", "tls.clientCas"],
  ])("%s", (name, section) =>
    expect(refusals({ env: { [name]: "secret" } })).toEqual([
      expect.stringMatching(new RegExp(`^${name}: ${section} is not supported by this version: `)),
    ]),
  );

  test("no refusal shows what was written, it may be a secret", () => {
    const problems = refusals({
      yaml: "auth: { token: hunter2 }\nproxy: { password: hunter2 }",
      env: { HOLDFAST_TLS_CLIENT_CAS: "hunter2", HOLDFAST_NOPE: "hunter2" },
    });
    expect(problems).toHaveLength(4);
    expect(problems.join()).not.toContain("hunter2");
  });
});

test("variables that Kubernetes made for a service are ignored with one notice", () => {
  const env = {
    HOLDFAST_PORT: "tcp://10.0.0.1:5000",
    HOLDFAST_SERVICE_HOST: "10.0.0.1",
    HOLDFAST_PORT_5000_TCP_ADDR: "10.0.0.1",
  };
  expect(load({ env }).notices).toEqual([
    "HOLDFAST_PORT and 2 more: ignored; the platform made this for a service of that name, it is no configuration.",
  ]);
});
