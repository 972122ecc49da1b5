/** Without its database, or without its bucket, a node does what it still can, says what it cannot, and recovers. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { describeWith } from "../clients/support/tools.ts";
import { etcdObstacle, startEtcd } from "../support/etcd.ts";
import { postgresObstacle, startPostgres } from "../support/postgres.ts";
import { signal, until } from "../support/processes.ts";
import { bytesOf, MANIFEST_TYPE, sha256 } from "../support/push.ts";
import { S3Quirks } from "../support/s3-quirks.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { bucketEnv, etcdEnv, newBucketPlace, newPlace } from "../support/shared-place.ts";
import { startVersitygw, type Versitygw } from "../support/versitygw.ts";
import {
  digestAt,
  expectStatus,
  type Init,
  locationOf,
  openUpload,
  pushBlob,
  pushImage,
  request,
  withDigest,
} from "./support/api.ts";

/** The promise is two seconds; the machine that tests is busy. */
const REFUSED_MS = 4000;
/** A store that says nothing may only be slow, and is given some 15 s; the machine that tests is busy. */
const AWAY_MS = 28_000;
const PATIENCE_MS = 180_000;
const LARGE = 300_000;
const IS_MANIFEST = { "Content-Type": MANIFEST_TYPE };

interface Database extends AsyncDisposable {
  readonly env: Record<string, string>;
  freeze(): void;
  thaw(): void;
  kill(): Promise<void>;
  start(): Promise<void>;
}

const DATABASES: Record<
  string,
  { readonly obstacle: string | undefined; readonly open: () => Promise<Database> }
> = {
  PostgreSQL: {
    obstacle: postgresObstacle,
    async open() {
      const server = await startPostgres();
      return {
        env: { HOLDFAST_METADATA_POSTGRES_URL: server.url },
        freeze: () => server.freeze(),
        thaw: () => server.thaw(),
        kill: () => server.kill(),
        start: () => server.start(),
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    },
  },
  etcd: {
    obstacle: etcdObstacle,
    async open() {
      const etcd = await startEtcd();
      const [member] = etcd.members;
      if (member === undefined) throw new Error("etcd has no member");
      return {
        env: etcdEnv(etcd.endpoints),
        freeze: () => member.signal("SIGSTOP"),
        thaw: () => member.signal("SIGCONT"),
        kill: () => member.stop("SIGKILL"),
        start: () => member.restart(),
        [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose](),
      };
    },
  },
};

async function readiness(node: TestServer): Promise<{ ready: boolean; reasons: string[] }> {
  const answer = await request(node, "/readyz");
  return (await answer.json()) as { ready: boolean; reasons: string[] };
}

async function bodyAt(node: TestServer, path: string): Promise<string> {
  return (await expectStatus(await request(node, path), 200)).text();
}

/** Where the session goes on. */
async function patched(
  node: TestServer,
  session: string,
  body: Uint8Array<ArrayBuffer>,
): Promise<string> {
  return locationOf(
    await expectStatus(await request(node, session, { method: "PATCH", body }), 202),
  );
}

async function namedBy(node: TestServer, what: string): Promise<void> {
  await until(
    async () => (await readiness(node)).reasons.some((reason) => reason.includes(what)),
    20_000,
    `/readyz to name ${what}`,
  );
  await expectStatus(await request(node, "/readyz"), 503);
  await expectStatus(await request(node, "/healthz"), 200);
}

async function recovers(node: TestServer): Promise<void> {
  await until(async () => (await readiness(node)).ready, 30_000, "the node to be ready again");
  const image = await pushImage(node, "after", "v1", bytesOf(Date.now(), LARGE));
  const answer = await expectStatus(await request(node, "/v2/after/manifests/v1"), 200);
  expect(answer.headers.get("Warning")).toBeNull();
  expect(sha256(await answer.bytes())).toBe(image.digest);
  expect(await digestAt(node, `/v2/after/blobs/${image.layer}`)).toBe(image.layer);
}

/** Each is refused within `ms`, so that its client comes back. */
async function areRefused(
  node: TestServer,
  ms: number,
  requests: readonly [string, Init][],
): Promise<void> {
  const answers = requests.map(async ([path, init]) => {
    const began = performance.now();
    const answer = await request(node, path, { signal: AbortSignal.timeout(60_000), ...init });
    await answer.arrayBuffer();
    const { status, headers } = answer;
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    const fine = status === 503 && headers.has("Retry-After") && seconds * 1000 < ms;
    return fine ? [] : [`${init.method ?? "GET"} ${path}: ${status} after ${seconds} s`];
  });
  expect((await Promise.all(answers)).flat()).toEqual([]);
}

describeWith(["versitygw"], "degraded:", () => {
  describe.each(Object.entries(DATABASES))("without %s", (_, { obstacle, open }) => {
    if (obstacle !== undefined && process.env["CI"] === undefined) {
      test.skip(obstacle, () => {});
      return;
    }

    test.each(["frozen", "killed"])(
      "(%s) what was shown is shown by digest, the rest is refused in time",
      async (how) => {
        await using database = await open();
        const { env } = await newBucketPlace();
        await using node = await startServer({ workers: 1, env: { ...env, ...database.env } });
        const known = await pushImage(node, "known", "v1", bytesOf(1, LARGE));
        const small = await pushBlob(node, "known", bytesOf(2, 1000));
        const hidden = await pushImage(node, "hidden", "v1", bytesOf(3, LARGE));
        const shown = [
          [`/v2/known/manifests/${known.digest}`, known.digest],
          [`/v2/known/blobs/${known.layer}`, known.layer],
          [`/v2/known/blobs/${small}`, small],
        ] as const;
        for (const [path, digest] of shown) expect(await digestAt(node, path)).toBe(digest);

        if (how === "frozen") database.freeze();
        else await database.kill();
        const deadline = performance.now() + 8000;
        let rounds = 0;
        while (performance.now() < deadline || rounds < 2) {
          rounds++;
          const pulls = shown.flatMap(([path, digest]) =>
            [1, 2, 3].map(async () => {
              const began = performance.now();
              const answer = await expectStatus(await request(node, path), 200);
              expect(answer.headers.get("Warning")).toStartWith("299 ");
              expect(sha256(await answer.bytes())).toBe(digest);
              expect(performance.now() - began).toBeLessThan(REFUSED_MS);
            }),
          );
          const refusals = areRefused(node, REFUSED_MS, [
            ["/v2/known/manifests/v1", {}],
            ["/v2/known/tags/list", {}],
            [`/v2/known/referrers/${known.digest}`, {}],
            ["/v2/_catalog", {}],
            [`/v2/hidden/manifests/${hidden.digest}`, {}],
            [`/v2/hidden/blobs/${known.layer}`, {}],
            [`/v2/known/blobs/uploads/?digest=${sha256("x")}`, { method: "POST", body: "x" }],
            ["/v2/known/manifests/v1", { method: "DELETE" }],
          ]);
          await Promise.all([refusals, ...pulls]);
        }
        await namedBy(node, "the metadata store");

        if (how === "frozen") database.thaw();
        else await database.start();
        await recovers(node);
        const again = await expectStatus(await request(node, "/v2/known/manifests/v1"), 200);
        expect(sha256(await again.bytes())).toBe(known.digest);
      },
      PATIENCE_MS,
    );
  });

  describe("the bucket:", () => {
    const held = { stack: new AsyncDisposableStack() };
    let server: Versitygw;
    let proxy: S3Quirks;
    let env: Record<string, string>;

    beforeEach(async () => {
      held.stack = new AsyncDisposableStack();
      server = held.stack.use(await startVersitygw());
      await server.createBucket("images");
      const target = { ...server, region: "us-east-1" };
      proxy = held.stack.use(await S3Quirks.start({ target }));
      const place = held.stack.use(
        await newPlace(postgresObstacle === undefined ? "postgres" : "etcd"),
      );
      env = { ...place.env, ...bucketEnv({ ...server, endpoint: proxy.endpoint }, "images", "p/") };
    }, PATIENCE_MS);
    afterEach(async () => held.stack.disposeAsync(), PATIENCE_MS);

    test.each(["frozen", "refusing"])(
      "(%s) pushes and pulls of what is not in memory are refused, none is cut short unnoticed",
      async (how) => {
        await using node = await startServer({ workers: 1, env });
        const known = await pushImage(node, "known", "v1", bytesOf(1, LARGE));
        const small = await pushBlob(node, "known", bytesOf(2, 1000));
        const big = bytesOf(3, 40_000_000);
        const bigDigest = await pushBlob(node, "known", big);
        const other = await pushBlob(node, "known", bytesOf(4, 2000));
        await pushImage(node, "spare", "v1", bytesOf(5, 1000));
        const manifest = await bodyAt(node, "/v2/known/manifests/v1");
        const fresh = bytesOf(9, LARGE);
        const begun = await openUpload(node, "known");
        const inPieces = await openUpload(node, "known");
        const next = await patched(node, inPieces, fresh);
        for (const path of ["manifests/v1", `blobs/${small}`])
          await digestAt(node, `/v2/known/${path}`);

        // One pull is in the middle of its bytes.
        proxy.bytesPerSecond = 4_000_000;
        const middle = await expectStatus(await request(node, `/v2/known/blobs/${bigDigest}`), 200);
        const reader = middle.body?.getReader();
        if (reader === undefined) throw new Error("there is no body");
        let received = (await reader.read()).value?.length ?? 0;
        proxy.bytesPerSecond = 0;
        if (how === "frozen") signal(server.pid, "SIGSTOP");
        else await proxy.refuseConnections();

        await areRefused(node, AWAY_MS, [
          [`/v2/known/blobs/${known.layer}`, {}],
          [`/v2/known/blobs/${other}`, {}],
          [`/v2/known/blobs/uploads/?digest=${sha256("x")}`, { method: "POST", body: "x" }],
          [`/v2/known/blobs/uploads/?digest=${sha256(fresh)}`, { method: "POST", body: fresh }],
          [begun, { method: "PATCH", body: fresh }],
          [withDigest(next, sha256(fresh)), { method: "PUT" }],
          [
            `/v2/known/manifests/v2`,
            { method: "PUT", body: `${manifest}\n`, headers: IS_MANIFEST },
          ],
          ["/v2/spare/manifests/v1", { method: "DELETE" }],
        ]);
        // What is in memory needs no bucket.
        expect(await digestAt(node, "/v2/known/manifests/v1")).toBe(known.digest);
        expect(await digestAt(node, `/v2/known/blobs/${small}`)).toBe(small);
        await namedBy(node, 'bucket "images"');

        const rest = await readAll(reader);
        received += rest.bytes;
        // Whole, if the rest was on its way already; an error otherwise.
        expect({ received, failed: rest.failed }).toEqual(
          rest.failed ? { received, failed: true } : { received: big.length, failed: false },
        );

        if (how === "frozen") signal(server.pid, "SIGCONT");
        else await proxy.listen();
        await recovers(node);
        expect(await digestAt(node, `/v2/known/blobs/${bigDigest}`)).toBe(bigDigest);
      },
      PATIENCE_MS,
    );

    test("a slow one does not let memory grow, nor do slow clients of a fast one", async () => {
      const SIZE = 200 * 2 ** 20;
      await using node = await startServer({ workers: 2, env });
      const bytes = bytesOf(5, SIZE);
      const digest = await pushBlob(node, "big", bytes);
      const memory = (): number => Math.max(...node.workers().map(residentBytes)) / 2 ** 20;
      const ending = new AbortController();
      const { signal: end } = ending;

      const stalled = await Promise.all(
        Array.from({ length: 8 }, () => request(node, `/v2/big/blobs/${digest}`, { signal: end })),
      );
      await Bun.sleep(3000);
      const whileStalled = memory();

      proxy.bytesPerSecond = 8_000_000;
      proxy.latency = 50;
      const pushes = Array.from({ length: 8 }, async (_, i) => {
        const path = `/v2/big/blobs/uploads/?digest=${sha256(`${i}`)}`;
        await request(node, path, { method: "POST", body: bytes, signal: end });
      });
      const pulls = Array.from({ length: 8 }, async () => {
        const answer = await request(node, `/v2/big/blobs/${digest}`, { signal: end });
        for await (const _ of answer.body ?? []) if (end.aborted) return;
      });
      const early: number[] = [];
      const late: number[] = [];
      for (let second = 0; second < 20; second++) {
        await Bun.sleep(1000);
        (second < 10 ? early : late).push(memory());
      }
      ending.abort();
      await Promise.allSettled([...pushes, ...pulls, ...stalled.map((one) => one.body?.cancel())]);
      const [first, second] = [Math.max(...early), Math.max(...late)];
      console.log(
        `largest worker: ${Math.round(whileStalled)} MiB with 8 stalled pulls, then ` +
          `${Math.round(first)} MiB with 8 slow pushes and pulls, ${Math.round(second)} MiB later`,
      );
      expect(whileStalled).toBeLessThan(400);
      // Each worker has about four of the pushes, 64 MiB each at most.
      expect(second).toBeLessThan(500);
      expect(second).toBeLessThan(first * 1.3 + 20);
    }, 180_000);
  });
});

async function readAll(
  reader: Pick<ReadableStreamDefaultReader<Uint8Array>, "read">,
): Promise<{ readonly bytes: number; readonly failed: boolean }> {
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { bytes, failed: false };
      bytes += value.length;
    }
  } catch {
    return { bytes, failed: true };
  }
}

function residentBytes(pid: number): number {
  const { stdout } = Bun.spawnSync(["ps", "-o", "rss=", "-p", String(pid)]);
  return Number(stdout.toString()) * 1024;
}
