import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loaderIn, refusalsOf, temporaryDirectory, type Given } from "./config-fixture.ts";

const cwd = temporaryDirectory();
const load = loaderIn(cwd);
const refusals = (given: Given) => refusalsOf(() => load(given), cwd);

/** What the image of distribution v3 starts with, as far as it matters. */
const stock = `version: 0.1
log: { fields: { service: registry } }
storage:
  cache: { blobdescriptor: inmemory }
  filesystem: { rootdirectory: /var/lib/registry }
  tag: { concurrencylimit: 8 }
http:
  addr: :5000
  headers: { X-Content-Type-Options: [nosniff] }
health:
  storagedriver: { enabled: true, interval: 10s, threshold: 3 }
`;
const withStock = (yaml: string) => `version: "0.1"\n${yaml}`;

describe("a stock file", () => {
  test("of v3 is understood, and what is skipped is named once", () => {
    const { config, notices, sources } = load({ yaml: stock });
    expect(config).toMatchObject({
      listen: [{ host: "", port: 5000 }],
      data: "/var/lib/registry",
      auth: { anonymous: ["pull", "push"], because: "distribution" },
    });
    expect(sources.get("listen")).toBe(`${cwd}/c.yml:8 (http.addr)`);
    expect(notices.map((notice) => notice.replace(`${cwd}/`, "").split(" is skipped")[0])).toEqual([
      "c.yml:2: log.fields",
      "c.yml:4: storage.cache",
      "c.yml:6: storage.tag",
      "c.yml:10: health",
    ]);
  });

  const debian = "/etc/docker/registry/config.yml";
  test.skipIf(!existsSync(debian))(
    "of Debian asks for htpasswd and is refused for it, else good",
    () => {
      const yaml = readFileSync(debian, "utf8");
      expect(yaml).toContain("htpasswd");
      expect(refusals({ yaml })).toEqual([
        expect.stringMatching(/^c\.yml:\d+: auth: .*protection/),
      ]);
      const open = yaml.replace(/^auth:\n(?: .*\n)+/m, "");
      const { config } = load({ yaml: open });
      expect(config.data).toBe("/var/lib/docker-registry");
      expect(config.auth).toEqual({
        anonymous: ["pull", "push", "delete"],
        because: "distribution",
      });
    },
  );

  test("is known by its version only", () => {
    expect(refusals({ yaml: "version: 0.2\nlisten: :1" })[0]).toStartWith(
      "c.yml:1: version: this key",
    );
  });
});

describe("mapped", () => {
  test.each([
    [
      "http: { addr: 'localhost:5001' }",
      { listen: [{ host: "localhost", port: 5001, loopback: true }] },
    ],
    [
      "http: { tls: { certificate: /a.pem, key: /b.pem } }",
      { tls: { cert: "/a.pem", key: "/b.pem" } },
    ],
    ["http: { host: 'https://r.example.com:5000/' }", { publicUrl: "https://r.example.com:5000" }],
    ["http: { draintimeout: 1m30s }", { drain: { timeout: 90_000 } }],
    ["http: { draintimeout: 2000000000 }", { drain: { timeout: 2000 } }],
    [
      "http: { debug: { addr: ':5001', prometheus: { enabled: true } } }",
      { metrics: { listen: { port: 5001 } } },
    ],
    ["http: { debug: { addr: ':5001' } }", { metrics: { listen: { port: 5090 } } }],
    ["storage: { filesystem: { rootdirectory: rel } }", { data: join(cwd, "rel") }],
    ["storage: { filesystem: {} }", { data: "/var/lib/registry" }],
    ["storage: filesystem", { data: "/var/lib/registry" }],
    [
      "storage: { maintenance: { uploadpurging: { enabled: true, age: 168h, interval: 24h, dryrun: false } } }",
      { uploads: { expiry: 604_800_000, purgeInterval: 86_400_000 } },
    ],
    [
      "storage: { maintenance: { uploadpurging: { enabled: false, age: 168h } } }",
      { uploads: { expiry: 86_400_000 } },
    ],
    [
      "log: { level: WARN, formatter: json, accesslog: { disabled: true } }",
      { log: { level: "warn", format: "json", requests: false } },
    ],
    ["log: { formatter: logstash }\nloglevel: debug", { log: { level: "debug", format: "json" } }],
    [
      "loglevel: debug\nlog: { level: error, formatter: text }",
      { log: { level: "error", format: "text" } },
    ],
    ["catalog: { maxentries: 50 }", { limits: { catalogEntries: 50 } }],
    ["catalog: { maxentries: -1 }", { limits: { catalogEntries: 1000 } }],
    ["storage: { maintenance: { readonly: { enabled: false } } }", { data: join(cwd, "data") }],
    ["proxy: { ttl: 168h }", { data: join(cwd, "data") }],
    ["auth: none", { data: join(cwd, "data") }],
    ["middleware: { storage: [{ name: redirect, disabled: true }] }", { data: join(cwd, "data") }],
    [
      "notifications: { endpoints: [{ name: x, disabled: true, url: 'http://x' }] }",
      { data: join(cwd, "data") },
    ],
    [
      "http: { tls: { certificate: /a, key: /b, letsencrypt: { email: a@b } } }",
      { tls: { cert: "/a" } },
    ],
  ])("%s", (yaml, expected) => {
    expect(load({ yaml: withStock(yaml) }).config).toMatchObject(expected);
  });

  test.each([
    ["storage: { delete: { enabled: true } }\nhttp: { addr: ':5000' }", ["pull", "push", "delete"]],
    ["storage: { delete: { enabled: yes } }", ["pull", "push", "delete"]],
    ["storage: { delete: { enabled: false } }", ["pull", "push"]],
    ["http: { addr: '127.0.0.1:5000' }", ["pull", "push"]],
  ] as const)("DELETE: %s", (yaml, anonymous) =>
    expect(load({ yaml: withStock(yaml) }).config.auth).toEqual({
      anonymous,
      because: "distribution",
    }),
  );

  test("DELETE: a file that says nothing of it forbids it on loopback too", () => {
    const { auth } = load({ yaml: withStock(""), flags: { listen: ["localhost:1"] } }).config;
    expect(auth).toEqual({ anonymous: ["pull", "push"], because: "distribution" });
  });

  test("a value that is no good is refused under both its names", () => {
    expect(refusals({ yaml: withStock("http:\n  addr: nine") })).toEqual([
      expect.stringMatching(/^c\.yml:3 \(http\.addr\): listen: "nine" is not an address/),
    ]);
  });
});

describe("what protects or changes the job stops the start", () => {
  test.each([
    ["auth: { htpasswd: { realm: r, path: /p } }", "auth"],
    ["auth: htpasswd", "auth"],
    ["auth: { token: { realm: r } }", "auth"],
    ["http: { tls: { certificate: /a, key: /b, clientcas: [/ca.pem] } }", "http.tls.clientcas"],
    ["http: { tls: { letsencrypt: { cachefile: /c, email: a@b } } }", "http.tls.letsencrypt"],
    ["http: { tls: { minimumtls: tls1.3 } }", "http.tls.minimumtls"],
    ["http: { tls: { ciphersuites: [TLS_AES_128_GCM_SHA256] } }", "http.tls.ciphersuites"],
    ["http: { prefix: /nested/ }", "http.prefix"],
    ["http: { net: unix }", "http.net"],
    ["middleware: { registry: [{ name: x }] }", "middleware"],
    ["middleware: { repository: [{ name: x }] }", "middleware"],
    ["middleware: { storage: [{ name: cloudfront, options: {} }] }", "middleware"],
    [
      "storage: { filesystem: {}, maintenance: { readonly: { enabled: true } } }",
      "storage.maintenance.readonly",
    ],
    ["policy: { repository: { classes: [image] } }", "policy.repository.classes"],
    ["proxy: { remoteurl: 'https://registry-1.docker.io' }", "proxy"],
    ["notifications: { endpoints: [{ name: x, url: 'http://x' }] }", "notifications.endpoints"],
    ["storage: { gcs: { bucket: b } }", "storage.gcs"],
    ["storage: { azure: { accountkey: hunter2 } }", "storage.azure"],
    ["storage: { swift: {} }", "storage.swift"],
    ["storage: { oss: {} }", "storage.oss"],
    ["storage: inmemory", "storage.inmemory"],
    ["storage: { somebodysdriver: {} }", "storage.somebodysdriver"],
  ])("%s", (yaml, section) => {
    const problems = refusals({ yaml: withStock(yaml) });
    expect(problems).toEqual([
      expect.stringMatching(new RegExp(`^c\\.yml:2: ${section}: .*; .*\\.$`)),
    ]);
    expect(problems.join()).not.toContain("hunter2");
  });

  test.each([
    ["REGISTRY_AUTH", "htpasswd", "auth"],
    ["REGISTRY_AUTH_HTPASSWD_PATH", "/p", "auth"],
    ["REGISTRY_HTTP_TLS_CLIENTCAS_0", "/ca.pem", "http.tls.clientcas"],
    ["REGISTRY_HTTP_TLS_CLIENTCAS", "[/ca.pem]", "http.tls.clientcas"],
    ["REGISTRY_PROXY_REMOTEURL", "https://registry-1.docker.io", "proxy"],
    ["REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true", "storage.maintenance.readonly"],
    ["REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}", "storage.maintenance.readonly"],
    ["REGISTRY_STORAGE", "gcs", "storage.gcs"],
    ["REGISTRY_MIDDLEWARE_REGISTRY_0_NAME", "x", "middleware"],
    ["REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL", "http://x", "notifications.endpoints"],
  ])("%s=%s, with a Holdfast file or without", (name, value, section) => {
    const sentence = expect.stringMatching(new RegExp(`^${name}: ${section}: `));
    expect(refusals({ env: { [name]: value } })).toEqual([sentence]);
    expect(refusals({ env: { [name]: value }, yaml: "workers: 1" })).toEqual([sentence]);
  });

  test("unless a variable takes it away", () => {
    const yaml = withStock("proxy: { remoteurl: 'https://x' }\nauth: { htpasswd: { path: /p } }");
    const env = { REGISTRY_PROXY_REMOTEURL: "", REGISTRY_AUTH: "none" };
    expect(load({ yaml, env }).config.workers).toBe(4);
  });
});

describe("variables", () => {
  test("name the file too, as for distribution's own program; HOLDFAST_CONFIG comes first", () => {
    load({ yaml: stock });
    const env = { REGISTRY_CONFIGURATION_PATH: "c.yml" };
    const { config, notices } = load({ env });
    expect(config.data).toBe("/var/lib/registry");
    expect(notices.join()).not.toContain("REGISTRY_CONFIGURATION_PATH");
    expect(refusals({ env: { ...env, HOLDFAST_CONFIG: "none.yml" } })[0]).toStartWith("none.yml: ");
  });

  test("change one entry of a list, either way", () => {
    const on = withStock("middleware: { registry: [{ name: x }] }");
    const off = { REGISTRY_MIDDLEWARE_REGISTRY_0_DISABLED: "true" };
    expect(load({ yaml: on, env: off }).config.workers).toBe(4);
    const yaml = withStock("middleware: { registry: [{ name: x, disabled: true }] }");
    expect(load({ yaml }).config.workers).toBe(4);
    const env = { REGISTRY_MIDDLEWARE_REGISTRY_0_DISABLED: "false" };
    expect(refusals({ yaml, env })).toEqual([
      expect.stringMatching(/^REGISTRY_MIDDLEWARE_REGISTRY_0_DISABLED: middleware: /),
    ]);
  });

  test("win over the file, the longer name over the shorter, HOLDFAST_ over both", () => {
    const env = {
      REGISTRY_STORAGE: "{filesystem: {rootdirectory: /short}, delete: {enabled: true}}",
      REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: "/long",
    };
    const { config, sources } = load({ yaml: stock, env });
    expect(config.data).toBe("/long");
    expect(config.auth.anonymous).toContain("delete");
    expect(sources.get("data")).toBe(
      "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY (storage.filesystem.rootdirectory)",
    );
    expect(load({ yaml: stock, env: { ...env, HOLDFAST_DATA: "/own" } }).config.data).toBe("/own");
  });

  test("alone mean a move from distribution: no DELETE, on loopback neither", () => {
    const { auth } = load({ env: { REGISTRY_HTTP_ADDR: "127.0.0.1:5000" } }).config;
    expect(auth).toEqual({ anonymous: ["pull", "push"], because: "distribution" });
  });

  test("beside a Holdfast file set only what they name", () => {
    const env = { REGISTRY_HTTP_ADDR: "127.0.0.1:5000" };
    expect(load({ env, yaml: "workers: 1" }).config.auth.because).toBe("loopback");
    const allowed = { ...env, REGISTRY_STORAGE_DELETE_ENABLED: "false" };
    expect(load({ env: allowed, yaml: "workers: 1" }).config.auth.anonymous).not.toContain(
      "delete",
    );
  });

  test("values are YAML, or text where they are none", () => {
    const env = { REGISTRY_HTTP_ADDR: "[::1]:5000", REGISTRY_LOG_ACCESSLOG_DISABLED: "yes" };
    expect(load({ env }).config).toMatchObject({
      listen: [{ host: "::1" }],
      log: { requests: false },
    });
  });

  test("that distribution does not have, or that others made, are noticed without their value", () => {
    const env = {
      REGISTRY_PASSWORD: "hunter2",
      REGISTRY_AUTH_FILE: "/root/auth.json",
      REGISTRY_HTTP_SECRET: "hunter2",
      REGISTRY_HTTP_NOPE: "hunter2",
      REGISTRY_PORT: "tcp://10.0.0.1:5000",
      REGISTRY_SERVICE_HOST: "10.0.0.1",
      REGISTRY_SERVICE_PORT: "5000",
      REGISTRY_PORT_5000_TCP: "tcp://10.0.0.1:5000",
      REGISTRY_AUTH_SERVICE_HOST: "10.0.0.2",
    };
    const { config, notices } = load({ env });
    expect(config.auth.because).toBe("reachable");
    expect(notices).toEqual([
      "REGISTRY_AUTH_FILE: ignored; container clients use it, it is no configuration.",
      "REGISTRY_PASSWORD: ignored; distribution has no such variable.",
      "REGISTRY_AUTH_SERVICE_HOST and 4 more: ignored; the platform made this for a service of that name, it is no configuration.",
      "REGISTRY_HTTP_NOPE: http.nope is skipped: it is not an option of distribution that Holdfast knows.",
      "REGISTRY_HTTP_SECRET: http.secret is skipped: clients carry no state that would have to be signed.",
    ]);
  });
});

test("every harmless option of the reference is named once", () => {
  const yaml = withStock(`
reporting: { bugsnag: { apikey: hunter2 } }
log: { hooks: [{ type: mail }], reportcaller: true }
redis: { addrs: ['localhost:6379'], password: hunter2 }
compatibility: { schema1: { enabled: true } }
validation: { manifests: { urls: { allow: ['.*'] } } }
storage: { redirect: { disable: true }, filesystem: { rootdirectory: /x, maxthreads: 100 } }
notifications: { events: { includereferences: true } }
http: { relativeurls: true, secret: hunter2, http2: { disabled: false }, h2c: { enabled: true }, headers: { X-A: [b] }, debug: { addr: ':1', prometheus: { enabled: true, path: /m } }, madeup: 1 }
`);
  const { notices } = load({ yaml });
  const named = notices.map((notice) => /: ([\w.]+) is skipped: /.exec(notice)?.[1]);
  const expected = [
    "reporting",
    "log.hooks",
    "log.reportcaller",
    "redis",
    "compatibility",
    "validation",
    "storage.redirect",
    "storage.filesystem.maxthreads",
    "notifications.events",
    "http.relativeurls",
    "http.secret",
    "http.http2",
    "http.h2c",
    "http.headers",
    "http.debug.prometheus.path",
    "http.madeup",
  ];
  expect(named).toEqual(expected);
  expect(notices.join()).not.toContain("hunter2");
});
