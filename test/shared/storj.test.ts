/** A registry on Storj as its users have it: an access grant and a bucket's name, and real processes for all else. */
import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { attempt, run } from "../clients/support/command.ts";
import { bigImage } from "../clients/support/images.ts";
import { describeWith, findTool, toolPath } from "../clients/support/tools.ts";
import { runHoldfast } from "../support/failed-start.ts";
import { startNodes } from "../support/nodes.ts";
import { describePostgres, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { freePort, until } from "../support/processes.ts";
import { bytesOf, sha256 } from "../support/push.ts";
import {
  STORJ_RULES,
  S3Quirks,
  type LoggedRequest,
  type S3Request,
  type S3Rules,
} from "../support/s3-quirks.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { StorjAuth } from "../support/storj-auth.ts";
import { makeGrant, type GrantParts } from "../support/storj-grant.ts";
import {
  digestAt,
  expectStatus,
  openUpload,
  pushImage,
  request,
  withDigest,
} from "./support/api.ts";

setDefaultTimeout(90_000);

const MIB = 1 << 20;
const SATELLITE = "us1.storj.test:7777";
const NEW = "registered with Storj";
const KEPT = "registered with Storj before";
const HOME = mkdtempSync(join(tmpdir(), "holdfast-storj-"));
/** Rules that say "later". Meeting any other is a defect. */
const PASSING: ReadonlySet<string> = new Set<keyof S3Rules>(["writeInterval", "requestsPerSecond"]);

let s3: Awaited<ReturnType<typeof startServerOfStorj>>;
let gateway: S3Quirks;
let names = 0;

/** At Storj: a bucket, an auth service, a grant for the bucket, all that a node is told; and a path for its data. */
type Project = ReturnType<typeof newProject>;

function newProject() {
  const name = `images-${++names}`;
  mkdirSync(join(s3.directory, name));
  const auth = new StorjAuth({ endpoint: gateway.endpoint, pair: s3 });
  const grant = grantFor(name);
  return {
    auth,
    bucket: name,
    grant,
    env: envOf(auth, name, grant),
    data: join(HOME, name),
    [Symbol.asyncDispose]: () => auth[Symbol.asyncDispose](),
  };
}

function grantFor(bucket: string, caveat: NonNullable<GrantParts["caveats"]>[number] = {}): string {
  return makeGrant({ caveats: [{ paths: [{ bucket, prefix: new Uint8Array() }] }, caveat] });
}

function envOf(
  auth: Pick<StorjAuth, "url">,
  bucket: string,
  grant: string,
): Record<string, string> {
  return {
    REGISTRY_STORAGE_STORJ_ACCESSGRANT: grant,
    REGISTRY_STORAGE_STORJ_BUCKET: bucket,
    HOLDFAST_STORAGE_STORJ_AUTH_SERVICE: auth.url,
  };
}

/** A real S3 server that, unlike those of other suites, is in Storj's region: nodes name it in their signatures. */
async function startServerOfStorj() {
  const directory = join(HOME, "s3");
  mkdirSync(directory);
  const address = `127.0.0.1:${freePort()}`;
  const pair = { accessKeyId: "jwstorj", secretAccessKey: "jstorj-secret-of-the-suite" };
  const program = findTool("versitygw") ?? "versitygw";
  // A runner that is killed takes the server with it.
  const tied = ["setpriv", "--pdeathsig", "KILL"];
  const listen = ["-p", address, "--region", "us1"];
  const keys = ["-a", pair.accessKeyId, "-s", pair.secretAccessKey];
  const child = Bun.spawn(
    [...tied, program, ...listen, ...keys, "--keep-alive", "-q", "posix", directory],
    { stdio: ["ignore", "ignore", "ignore"] },
  );
  const endpoint = `http://${address}`;
  const answers = async (): Promise<boolean> => (await fetch(endpoint)).status > 0;
  await until(() => answers().catch(() => false), 10_000, "versitygw");
  return {
    endpoint,
    directory,
    region: "us1",
    ...pair,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** Not with the pair that the gateway knows. */
function isStrange({ head }: S3Request): boolean {
  return !head.headers.some(([, value]) => value.includes(`Credential=${s3.accessKeyId}/`));
}

/** A client that must succeed. */
function client(...argv: readonly string[]): Promise<{ readonly stdout: string }> {
  const [program = "", ...rest] = argv;
  const env = { PATH: toolPath, HOME, TMPDIR: HOME, LANG: "C.UTF-8" };
  return run([findTool(program) ?? program, ...rest], { env, cwd: HOME, timeout: 80 });
}

/** The sentence with which a node does not start. */
async function refusal(env: Readonly<Record<string, string>>): Promise<string> {
  const data = mkdtempSync(join(HOME, "refused-"));
  const args = ["serve", "--listen", `127.0.0.1:${freePort()}`, "--data", data];
  const { code, stderr } = await runHoldfast(args, { env: { HOLDFAST_WORKERS: "1", ...env } });
  const said = stderr.split("\n").filter((line) => line.startsWith("holdfast: "));
  expect({ code, said: said.length, stderr }).toEqual({ code: 1, said: 1, stderr });
  return stderr;
}

/** What nobody may ever read: the grant, or a good part of it, and the pair that it was turned into. */
function expectNoSecret(text: string, { grant }: Pick<Project, "grant">): void {
  const middle = Math.floor(grant.length / 2);
  const parts = [grant.slice(-16), grant.slice(middle, middle + 16)];
  // The service keeps the grant under the id, as good as a password.
  for (const secret of [...parts, s3.accessKeyId, s3.secretAccessKey])
    expect(text).not.toContain(secret);
}

/** What a start says of its way to Storj, in order. */
function registrations(logs: string): unknown[] {
  return logs
    .split("\n")
    .filter((line) => line.includes(SATELLITE))
    .map((line) => (JSON.parse(line) as { message: unknown }).message);
}

/** Parts of a blob, sent by curl as a script would. */
async function curlUpload(
  nodes: readonly [TestServer, ...TestServer[]],
  repository: string,
  chunks: readonly Uint8Array<ArrayBuffer>[],
): Promise<string> {
  const [first] = nodes;
  let path = await openUpload(first, repository);
  let at = 0;
  for (const [n, chunk] of chunks.entries()) {
    const file = join(HOME, `chunk-${n}`);
    writeFileSync(file, chunk);
    const node = nodes[(n + 1) % nodes.length] ?? first;
    const headers = [
      "Content-Type: application/octet-stream",
      `Content-Range: ${at}-${at + chunk.length - 1}`,
      // Every other one without a length, as docker sends them.
      ...(n % 2 === 0 ? [] : ["Transfer-Encoding: chunked"]),
    ].flatMap((header) => ["--header", header]);
    const how = ["--silent", "--fail", "--dump-header", "-", "--request", "PATCH", ...headers];
    const where = new URL(path, node.url).href;
    const { stdout } = await client("curl", ...how, "--data-binary", `@${file}`, where);
    const location = /^location: *(\S+)/im.exec(stdout)?.[1] ?? path;
    const { pathname, search } = new URL(location, node.url);
    path = pathname + search;
    at += chunk.length;
  }
  const digest = sha256(Buffer.concat(chunks));
  const put = await request(first, withDigest(path, digest), { method: "PUT" });
  await expectStatus(put, 201);
  return digest;
}

describeWith(["versitygw", "crane", "skopeo", "curl"], "Storj:", () => {
  beforeAll(async () => {
    s3 = await startServerOfStorj();
    gateway = await S3Quirks.start({ target: s3, rules: STORJ_RULES });
    // The server itself has another code for this than Storj's gateway.
    gateway.inject({ answer: 403, code: "InvalidAccessKeyId" }, { when: isStrange });
  });
  afterEach(() => {
    gateway.rules = { ...STORJ_RULES };
  });
  afterAll(async () => {
    await gateway[Symbol.asyncDispose]();
    await s3[Symbol.asyncDispose]();
    rmSync(HOME, { recursive: true, force: true });
  });

  test("a grant and a bucket are all that a container with an ephemeral disk needs", async () => {
    await using project = newProject();
    const { auth, env, data } = project;
    const printed = await runHoldfast(["config", "print"], { env });
    expect(printed.stdout).toContain(`bucket: ${project.bucket}`);
    expectNoSecret(printed.stdout + printed.stderr, project);
    const image = await bigImage(join(HOME, "big"), 20 * MIB);
    const chunks = [bytesOf(1, 6 * MIB), bytesOf(2, 5 * MIB), bytesOf(3, 70_000)];
    const paths: { readonly path: string; readonly digest: string }[] = [];
    const start = (): Promise<TestServer> => startServer({ env, data, patience: 60_000 });
    const expectAll = async (node: TestServer): Promise<void> => {
      for (const { path, digest } of paths) expect(await digestAt(node, path)).toBe(digest);
    };

    let node = await start();
    try {
      expect(registrations(node.logs())).toEqual([NEW]);
      expect(auth.registered).toEqual([project.grant]);
      await client("crane", "push", image.layout.dir, `${node.host}/app:v1`, "--insecure");
      const blob = await curlUpload([node], "app", chunks);
      const small = await pushImage(node, "app", "small", bytesOf(4, 1000));
      paths.push(
        { path: "/v2/app/manifests/v1", digest: image.root.digest },
        { path: `/v2/app/blobs/${blob}`, digest: blob },
        { path: "/v2/app/manifests/small", digest: small.digest },
      );
      await expectAll(node);
    } finally {
      await node.stop();
    }
    expectNoSecret(node.logs(), project);

    // The same disk: nothing to register, nothing to rebuild.
    node = await start();
    expect(registrations(node.logs())).toEqual([KEPT]);
    expect(node.logs()).not.toContain("rebuilding the metadata");
    await expectAll(node);
    await node.stop();
    expect(auth.requests).toBe(1);

    // An empty disk: everything comes from the bucket, and a new pair from the auth service.
    rmSync(data, { recursive: true });
    const began = performance.now();
    node = await start();
    expect(performance.now() - began).toBeLessThan(10_000);
    try {
      expect(registrations(node.logs())).toEqual([NEW]);
      expect(node.logs()).toContain("rebuilding the metadata");
      expect(auth.requests).toBe(2);
      await expectAll(node);
      // It checks every digest.
      const [source, pulled] = [`docker://${node.host}/app:v1`, `dir:${join(HOME, "pulled")}`];
      await client("skopeo", "copy", "--src-tls-verify=false", source, pulled);
    } finally {
      await node.stop();
    }
    expectNoSecret(node.logs(), project);
    // Neither does the bucket tell how it is opened.
    for (const secret of [project.grant, s3.secretAccessKey]) {
      const command = ["grep", "-rqF", secret, join(s3.directory, project.bucket)];
      expect((await attempt(command, { env: { PATH: toolPath } })).code).toBe(1);
    }
  });

  test("a project's limits reach no client, and no heart misses a beat", async () => {
    await using project = newProject();
    const { bucket, env } = project;
    let requests = 0;
    await using node = await startServer({ env, patience: 60_000 });
    const image = await bigImage(join(HOME, "limited"), 20 * MIB);
    gateway.rules = { ...STORJ_RULES, requestsPerSecond: 15 };
    {
      // On top of the project's rate: bursts of refusals, whoever is just asking.
      using bursts = gateway.inject(
        { answer: 429, code: "SlowDown", headers: { "Retry-After": "1" } },
        { when: () => requests++ % 40 < 3 },
      );
      const began = performance.now();
      await client("crane", "push", image.layout.dir, `${node.host}/app:v1`, "--insecure");
      for (let n = 0; performance.now() - began < 6000; n++) {
        const lanes = Array.from({ length: 6 }, (_, lane) =>
          pushImage(node, "app", `t${lane}`, bytesOf(100 * n + lane, 2000)),
        );
        for (const { digest, layer } of await Promise.all(lanes)) {
          expect(await digestAt(node, `/v2/app/manifests/${digest}`)).toBe(digest);
          expect(await digestAt(node, `/v2/app/blobs/${layer}`)).toBe(layer);
        }
      }
      await client("crane", "validate", "--remote", `${node.host}/app:v1`, "--insecure");
      // How many depends on how fast this machine asks.
      expect(bursts.hits).toBeGreaterThan(0);
      expect(gateway.refused("requestsPerSecond").length).toBeGreaterThan(0);
    }
    const log = (): LoggedRequest[] => gateway.log.filter((entry) => entry.bucket === bucket);
    const beats = (): LoggedRequest[] =>
      log().filter(({ key, status }) => key.startsWith("owner/") && status === 200);
    const isWrite = ({ operation }: LoggedRequest): boolean => operation === "PutObject";
    await until(() => beats().filter(isWrite).length > 2, 15_000, "two beats after the first");
    // The probe writes one name twice to see what happens; nothing else is as hot.
    const hot = log().filter(({ rule }) => rule === "writeInterval");
    expect(hot.filter(({ key }) => !key.startsWith("probe/"))).toEqual([]);
    expect(node.logs()).not.toMatch(/"level":"(?:warn|error)"/);
    expectNoSecret(node.logs(), project);
  });

  test("a pair that the gateway does not know any more is replaced at the next start", async () => {
    await using project = newProject();
    const { auth, env, data } = project;
    await using first = await startServer({ env, data, workers: 1 });
    await pushImage(first, "a", "v1", bytesOf(1, 100));
    await first.stop();
    const kept = readdirSync(data).find((name) => name.startsWith("storj-credentials-")) ?? "";
    const text = readFileSync(join(data, kept), "utf8");
    expect(text).toContain(s3.accessKeyId);
    writeFileSync(join(data, kept), text.replace(s3.accessKeyId, "jwforgotten"));
    await using second = await startServer({ env, data, workers: 1 });
    expect(registrations(second.logs())).toEqual([KEPT, NEW]);
    expect(auth.requests).toBe(2);
    await digestAt(second, "/v2/a/manifests/v1");
    await second.stop();
    await using third = await startServer({ env, data, workers: 1 });
    expect(registrations(third.logs())).toEqual([KEPT]);
    expect(auth.requests).toBe(2);
  });

  test("a second server on the bucket is refused, and the first goes on", async () => {
    await using project = newProject();
    const { bucket, env } = project;
    await using node = await startServer({ env, workers: 1 });
    const said = await refusal(env);
    expect(said).toContain(
      `holdfast: process ${node.pid} on ${hostname()} already serves the bucket "${bucket}" at Storj: stop it, choose another bucket or prefix, or add a database (metadata.postgres, metadata.etcd) to run several nodes`,
    );
    expectNoSecret(said, project);
    await pushImage(node, "a", "v1", bytesOf(1, 100));
  });

  test("stopped at the start: a grant that cannot do, of which nothing is sent", async () => {
    await using project = newProject();
    const { auth, bucket, grant } = project;
    const now = Date.now();
    const grants: readonly (readonly [string, string])[] = [
      [grant.slice(0, -3), "has a wrong checksum: it was changed or cut when it was copied"],
      ["wrong horse battery staple", "is not a Storj access grant"],
      [grantFor(bucket, { disallow: ["writes", "deletes"] }), "does not allow to write and to d"],
      [grantFor(bucket, { disallow: ["lists"] }), "does not allow to list"],
      [grantFor(bucket, { notAfter: now - 60_000 }), "expired at .*: create a new one"],
      [grantFor(bucket, { objectLife: 3600 }), "limits the life of what is stored"],
      [grantFor("other"), `covers the bucket "other" and not "${bucket}"`],
    ];
    for (const [text, why] of grants) {
      const said = await refusal(envOf(auth, bucket, text));
      expect(said).toMatch(new RegExp(`^holdfast: storage\\.storj\\.accessGrant ${why}`));
      expect(said).not.toContain(text);
    }
    expect(auth.requests).toBe(0);
    expect(gateway.log.filter((entry) => entry.bucket === bucket)).toEqual([]);
  });

  test("stopped at the start: an auth service that is away, broken, or refuses", async () => {
    await using project = newProject();
    const { bucket, grant } = project;
    const away = `http://127.0.0.1:${freePort()}`;
    const answers = { endpoint: gateway.endpoint, pair: s3 };
    await using broken = new StorjAuth(answers);
    await using picky = new StorjAuth(answers);
    await using other = new StorjAuth(answers);
    for (let n = 0; n < 5; n++) broken.script.push(new Response("", { status: 500 }));
    picky.satellites = ["another satellite"];
    other.script.push(new Response("<html>", { status: 200 }));
    const services = [{ url: away }, broken, picky, other];
    const sentences = services.map((auth) => refusal(envOf(auth, bucket, grant)));
    const [a, b, c, d] = await Promise.all(sentences);
    expectNoSecret([a, b, c, d].join(), project);
    expect(a).toMatch(
      / at \S+ cannot be used now.*check the network and storage\.storj\.authService/,
    );
    expect(b).toMatch(/cannot be used now \(status 500\): try again later/);
    expect(broken.requests).toBe(5);
    expect(c).toMatch(/refused storage\.storj\.accessGrant \(".* disallowed satellite/);
    expect(picky.requests).toBe(1);
    expect(d).toMatch(/does not answer like Storj's auth service/);
  });

  test("stopped at the start: a gateway that is away, does not know the new pair, or has no such bucket", async () => {
    await using project = newProject();
    const { auth, bucket, grant } = project;
    await using lost = new StorjAuth({ endpoint: `http://127.0.0.1:${freePort()}`, pair: s3 });
    await using strange = new StorjAuth({ endpoint: gateway.endpoint });
    const missing = "images-that-are-not-there";
    const [a, b, c] = await Promise.all([
      refusal(envOf(lost, bucket, grant)),
      refusal(envOf(strange, bucket, grant)),
      refusal(envOf(auth, missing, grantFor(missing))),
    ]);
    expect(a).toContain("storage.storj.endpoint");
    expect(b).toContain("does not know the access key: correct storage.storj.accessGrant");
    expect(strange.requests).toBe(2);
    expect(c).toContain(`there is no bucket "${missing}"`);
    expect(c).toContain("correct storage.storj.bucket");
    expectNoSecret(a + b + c, project);
  });

  test("an endpoint of one's own, and a grant that ends soon, out of a file", async () => {
    await using project = newProject();
    const { bucket } = project;
    await using auth = new StorjAuth({ endpoint: `http://127.0.0.1:${freePort()}`, pair: s3 });
    const grant = grantFor(bucket, { notAfter: Date.now() + 10 * 86_400_000 });
    const file = join(HOME, "grant");
    writeFileSync(file, `${grant}\n`);
    const env = {
      HOLDFAST_STORAGE_STORJ_BUCKET: bucket,
      HOLDFAST_STORAGE_STORJ_ACCESS_GRANT_FILE: file,
      HOLDFAST_STORAGE_STORJ_AUTH_SERVICE: auth.url,
      HOLDFAST_STORAGE_STORJ_ENDPOINT: s3.endpoint,
    };
    await using node = await startServer({ env, workers: 1 });
    await pushImage(node, "a", "v1", bytesOf(1, 100));
    expect(auth.registered).toEqual([grant]);
    expect(node.logs()).toContain("the Storj access grant expires soon");
    expectNoSecret(node.logs(), { grant });
  });

  describePostgres("with a database:", () => {
    let database: TestPostgres;
    beforeAll(async () => {
      database = await startPostgres({ settings: ["fsync = off"] });
    }, 30_000);
    afterAll(() => database[Symbol.asyncDispose]());

    const withDatabase = (project: Project): Record<string, string> => {
      const name = project.bucket.replace("-", "_");
      database.sql(`CREATE DATABASE ${name}`);
      return { ...project.env, HOLDFAST_METADATA_POSTGRES_URL: database.urlOf(name) };
    };

    test("two nodes started at once register one pair, and share uploads", async () => {
      await using project = newProject();
      const { auth } = project;
      const env = withDatabase(project);
      await using nodes = await startNodes({ count: 2, workers: 1, env, patience: 60_000 });
      const [a, b] = nodes.live;
      if (a === undefined || b === undefined) throw new Error("two nodes were asked for");
      const said = [a, b].map((node) => registrations(node.logs()).join());
      expect(said.toSorted()).toEqual([NEW, KEPT]);
      expect(auth.requests).toBe(1);

      const chunks = [bytesOf(1, 6 * MIB), bytesOf(2, 3 * MIB), bytesOf(3, 70_000)];
      const blob = await curlUpload([a, b], "app", chunks);
      expect(await digestAt(b, `/v2/app/blobs/${blob}`)).toBe(blob);
      const image = await bigImage(join(HOME, "shared"), 20 * MIB);
      await client("crane", "push", image.layout.dir, `${a.host}/app:v1`, "--insecure");
      await client("crane", "validate", "--remote", `${b.host}/app:v1`, "--insecure");

      // A third one, with an empty disk as well.
      const c = await nodes.add();
      expect(registrations(c.logs())).toEqual([KEPT]);
      expect(await digestAt(c, "/v2/app/manifests/v1")).toBe(image.root.digest);
      expect(auth.requests).toBe(1);
      expectNoSecret(nodes.logs(), project);
    });

    test("a rejected pair is replaced once for all nodes", async () => {
      await using project = newProject();
      const { auth } = project;
      const env = withDatabase(project);
      const pair = { access_key_id: "jwforgotten", secret_key: "j1", endpoint: gateway.endpoint };
      auth.script.push(Response.json(pair));
      await using nodes = await startNodes({ count: 2, workers: 1, env, patience: 60_000 });
      expect(auth.requests).toBe(2);
      for (const node of nodes.live) await pushImage(node, "a", "v1", bytesOf(1, 100));
      expectNoSecret(nodes.logs(), project);
    });

    /** What comes of an image when the database is gone, seen by someone who does or does not just start again. */
    const rebuilt = async (startsFirst: boolean): Promise<void> => {
      await using project = newProject();
      const env = withDatabase(project);
      await using before = await startServer({ env, workers: 1 });
      const { digest } = await pushImage(before, "a", "v1", bytesOf(1, 100));
      await before.stop();
      database.sql("DROP SCHEMA holdfast CASCADE", project.bucket.replace("-", "_"));
      if (startsFirst) expect(await refusal(env)).toContain("run `holdfast rebuild`");
      const args = ["rebuild", "--data", project.data];
      const { code, stdout, stderr } = await runHoldfast(args, { env });
      expect({ code, stderr }).toMatchObject({ code: 0 });
      expectNoSecret(stdout + stderr, project);
      await using after = await startServer({ env, workers: 1 });
      expect(await digestAt(after, "/v2/a/manifests/v1")).toBe(digest);
    };

    test("a database that was lost is rebuilt from the bucket", () => rebuilt(false));

    // The refused start leaves credentials in the database, which `openEmpty` then takes for one in use.
    test("also after a start that was refused for it", () => rebuilt(true));
  });

  test("in all of this no request met a rule but those that say later", () => {
    const met = gateway.refused().filter(({ rule }) => !PASSING.has(rule ?? ""));
    expect(met).toEqual([]);
    expect(gateway.log.length).toBeGreaterThan(500);
  });
});
