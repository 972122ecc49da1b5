/** The proxy itself, on the real server, by a client that knows nothing of the registry. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { AwsClient } from "aws4fetch";
import { describeWith } from "../clients/support/tools.ts";
import { NO_RULES, S3Quirks, STORJ_RULES } from "./s3-quirks.ts";
import { startVersitygw, type Versitygw } from "./versitygw.ts";

describeWith(["versitygw"], "S3Quirks", () => {
  let server: Versitygw;
  let proxy: S3Quirks;
  let client: AwsClient;

  beforeAll(async () => {
    server = await startVersitygw();
    await server.createBucket("bucket");
    proxy = await S3Quirks.start({ target: server });
    client = new AwsClient({ ...server, service: "s3", region: "us-east-1", retries: 0 });
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    proxy.rules = { ...NO_RULES };
    proxy.clear();
  });

  interface Answer {
    readonly status: number;
    readonly text: string;
    readonly headers: Headers;
  }

  async function call(method: string, path: string, init: RequestInit = {}): Promise<Answer> {
    const signed = await client.sign(`${proxy.endpoint}/bucket${path}`, { ...init, method });
    const response = await fetch(signed.url, {
      method,
      headers: signed.headers,
      body: init.body ?? null,
      signal: AbortSignal.timeout(5000),
    });
    return { status: response.status, text: await response.text(), headers: response.headers };
  }

  const code = ({ text }: Answer): string | undefined => /<Code>(.*?)<\/Code>/.exec(text)?.[1];
  const tags = (text: string, name: string): string[] =>
    [...text.matchAll(new RegExp(`<${name}>(.*?)</${name}>`, "g"))].map((match) => match[1] ?? "");
  const failure = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => "no failure",
      (error: unknown) => error,
    );

  async function uploadOf(key: string): Promise<string> {
    const { text } = await call("POST", `/${key}?uploads`);
    return tags(text, "UploadId")[0] ?? "";
  }

  async function part(key: string, id: string, number: number, bytes: number): Promise<string> {
    const path = `/${key}?partNumber=${number}&uploadId=${id}`;
    const { headers } = await call("PUT", path, { body: new Uint8Array(bytes).fill(number) });
    return headers.get("etag") ?? "";
  }

  function complete(key: string, id: string, etags: Record<number, string>): Promise<Answer> {
    const parts = Object.entries(etags).map(
      ([number, etag]) => `<Part><PartNumber>${number}</PartNumber><ETag>${etag}</ETag></Part>`,
    );
    const body = `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`;
    return call("POST", `/${key}?uploadId=${id}`, { body });
  }

  test("without rules everything passes as it is, and is counted", async () => {
    const body = crypto.getRandomValues(new Uint8Array(60_000));
    expect((await call("PUT", "/plain/a%20b", { body })).status).toBe(200);
    expect((await call("HEAD", "/plain/a%20b")).headers.get("content-length")).toBe("60000");
    const signed = await client.sign(`${proxy.endpoint}/bucket/plain/a%20b`, {
      headers: { range: "bytes=10-19" },
    });
    const range = await fetch(signed);
    expect(range.status).toBe(206);
    expect(await range.bytes()).toEqual(body.slice(10, 20));
    expect(tags((await call("GET", "?list-type=2&prefix=pl")).text, "Key")).toEqual(["plain/a b"]);
    expect((await call("DELETE", "/plain/a%20b")).status).toBe(204);
    expect((await call("GET", "/plain/a%20b")).status).toBe(404);
    expect(proxy.counts()).toEqual({
      PutObject: 1,
      HeadObject: 1,
      GetObject: 2,
      ListObjectsV2: 1,
      DeleteObject: 1,
    });
    expect(proxy.log[0]).toMatchObject({ key: "plain/a b", status: 200, sent: 60_000 });
    expect(proxy.log[2]).toMatchObject({ status: 206, received: 10 });
  });

  test("connections live on, and many work at once", async () => {
    const puts = Array.from({ length: 100 }, (_, i) => call("PUT", `/many/${i}`, { body: `${i}` }));
    expect(new Set((await Promise.all(puts)).map(({ status }) => status))).toEqual(new Set([200]));
    const gets = Array.from({ length: 100 }, (_, i) => call("GET", `/many/${i}`));
    expect((await Promise.all(gets)).map(({ text }) => text)).toEqual(
      Array.from({ length: 100 }, (_, i) => `${i}`),
    );
  });

  describe("Storj's rules:", () => {
    beforeEach(() => {
      proxy.rules = { ...STORJ_RULES };
    });

    test("listings in an order of their own, whole over pages", async () => {
      const names = Array.from({ length: 23 }, (_, i) => `list/${i % 3}/${i}`);
      for (const name of names) await call("PUT", `/${name}`, { body: "x" });
      const found: string[] = [];
      let token = "";
      let pages = 0;
      do {
        const more = token === "" ? "" : `&continuation-token=${encodeURIComponent(token)}`;
        const { text } = await call("GET", `?list-type=2&prefix=list/&max-keys=10${more}`);
        found.push(...tags(text, "Key"));
        token = tags(text, "NextContinuationToken")[0] ?? "";
        pages++;
      } while (token !== "");
      expect(pages).toBe(3);
      expect(found.toSorted()).toEqual(names.toSorted());
      expect(found).not.toEqual(found.toSorted());
      const below = await call("GET", "?list-type=2&prefix=list/&delimiter=/");
      expect(tags(below.text, "Prefix").toSorted()).toEqual([
        "list/",
        "list/0/",
        "list/1/",
        "list/2/",
      ]);
      expect(tags(below.text, "Key")).toEqual([]);
    });

    test.each([
      ["a prefix without a slash", "GET", "?list-type=2&prefix=li", {}],
      ["a prefix without a slash, V1", "GET", "?prefix=li", {}],
      ["another delimiter", "GET", "?list-type=2&delimiter=-", {}],
      ["uploads by a prefix without a slash", "GET", "?uploads&prefix=li", {}],
      ["uploads after an upload id", "GET", "?uploads&key-marker=a&upload-id-marker=b", {}],
      ["If-None-Match with an ETag", "PUT", "/a", { "if-none-match": '"x"' }],
      ["UploadPartCopy", "PUT", "/a?partNumber=1&uploadId=b", { "x-amz-copy-source": "/bucket/b" }],
      ["lifecycle", "GET", "?lifecycle", {}],
      ["an ACL", "GET", "/a?acl", {}],
      ["GetObject by part", "GET", "/a?partNumber=1", {}],
    ])("501 for %s", async (_, method, path, headers: Record<string, string>) => {
      const body = method === "PUT" ? "x" : null;
      const answer = await call(method, path, { headers, body });
      expect(answer.status).toBe(501);
      expect(code(answer)).toBe("NotImplemented");
      expect(proxy.refused()).toHaveLength(1);
    });

    test("411 for checksum trailers and for chunks", async () => {
      const headers = { "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER" };
      expect((await call("PUT", "/t", { headers, body: "x" })).status).toBe(411);
      const chunks = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(new Uint8Array(10_000));
          controller.enqueue(new Uint8Array(10_000));
          controller.close();
        },
      });
      const streamed = await call("PUT", "/t", { body: chunks });
      expect(streamed.status).toBe(411);
      expect(code(streamed)).toBe("MissingContentLength");
      expect(proxy.log[1]?.sent).toBeGreaterThan(20_000);
    });

    test("If-None-Match: * works", async () => {
      const headers = { "if-none-match": "*" };
      proxy.rules.writeInterval = 0;
      expect((await call("PUT", "/once", { headers, body: "a" })).status).toBe(200);
      expect((await call("PUT", "/once", { headers, body: "b" })).status).toBe(412);
    });

    test("If-Match on a write means nothing", async () => {
      const headers = { "if-match": '"0123456789abcdef0123456789abcdef"' };
      await call("PUT", "/match", { body: "a" });
      proxy.rules.writeInterval = 0;
      expect((await call("PUT", "/match", { headers, body: "b" })).status).toBe(200);
      expect((await call("GET", "/match")).text).toBe("b");
      proxy.rules.ignoreIfMatch = false;
      expect((await call("PUT", "/match", { headers, body: "c" })).status).toBe(412);
    });

    test("Complete must list exactly the parts there are, and only the last may be small", async () => {
      const id = await uploadOf("parts");
      const etags = { 1: await part("parts", id, 1, 5 << 20), 2: await part("parts", id, 2, 100) };
      const stray = await part("parts", id, 3, 50);
      expect(code(await complete("parts", id, etags))).toBe("InvalidPart");
      expect(code(await complete("parts", id, { ...etags, 3: stray }))).toBe("EntityTooSmall");
      etags[2] = await part("parts", id, 2, 5 << 20);
      expect((await complete("parts", id, { ...etags, 3: stray })).status).toBe(200);
      const head = await call("HEAD", "/parts");
      expect(head.headers.get("content-length")).toBe(`${(10 << 20) + 50}`);
    });

    test("one write a second to a name", async () => {
      expect((await call("PUT", "/hot", { body: "a" })).status).toBe(200);
      const second = await call("PUT", "/hot", { body: "b" });
      expect(second.status).toBe(429);
      expect(code(second)).toBe("SlowDown");
      expect(second.headers.get("retry-after")).toBe("1");
      expect((await call("PUT", "/cold", { body: "a" })).status).toBe(200);
      await Bun.sleep(1050);
      expect((await call("PUT", "/hot", { body: "b" })).status).toBe(200);
    });

    test("so many requests a second", async () => {
      proxy.rules.requestsPerSecond = 5;
      const all = await Promise.all(Array.from({ length: 20 }, () => call("HEAD", "/none")));
      const passed = all.filter(({ status }) => status === 404).length;
      expect(passed).toBeGreaterThanOrEqual(5);
      expect(passed).toBeLessThanOrEqual(10);
      expect(proxy.refused("requestsPerSecond")).toHaveLength(20 - passed);
    });
  });

  describe("faults:", () => {
    const puts = { when: ({ operation }: { operation: string }) => operation === "PutObject" };

    test("an answer instead of the server's, so many times", async () => {
      using fault = proxy.inject(
        { answer: 403, code: "StorageLimitExceeded" },
        { ...puts, times: 2 },
      );
      for (let i = 0; i < 2; i++)
        expect(code(await call("PUT", "/refused", { body: "x" }))).toBe("StorageLimitExceeded");
      expect((await call("HEAD", "/refused")).status).toBe(404);
      expect((await call("PUT", "/refused", { body: "x" })).status).toBe(200);
      expect(fault.hits).toBe(2);
    });

    test("a lost answer: it is done, and nobody is told", async () => {
      using _ = proxy.inject({ lose: true }, puts);
      expect(await failure(call("PUT", "/lost", { body: "x" }))).toMatchObject({
        code: "ECONNRESET",
      });
      expect((await call("GET", "/lost")).text).toBe("x");
      expect(proxy.log[0]?.status).toBe(0);
    });

    test("a request cut on its way does nothing", async () => {
      using _ = proxy.inject({ cutRequest: 100_000 }, puts);
      const body = new Uint8Array(1 << 20);
      // versitygw keeps the half that came of a body without a signed hash.
      const hash = new Bun.CryptoHasher("sha256").update(body).digest("hex");
      const headers = { "x-amz-content-sha256": hash };
      expect(await failure(call("PUT", "/half", { headers, body }))).toBeInstanceOf(Error);
      expect((await call("HEAD", "/half")).status).toBe(404);
    });

    test.each([true, false])("an answer cut on its way, gently: %p", async (gently) => {
      await call("PUT", "/long", { body: new Uint8Array(1 << 20) });
      using _ = proxy.inject({ cutAnswer: 200_000, gently });
      expect(await failure(call("GET", "/long"))).toMatchObject({ code: "ECONNRESET" });
      expect(proxy.log.at(-1)?.received).toBeLessThanOrEqual(200_000);
    });

    test.each(["request", "answer"] as const)("a %s that hangs", async (hang) => {
      using _ = proxy.inject({ hang }, puts);
      const signed = await client.sign(`${proxy.endpoint}/bucket/hang-${hang}`, {
        method: "PUT",
        body: "x",
      });
      const signal = AbortSignal.timeout(200);
      expect(await failure(fetch(signed, { signal }))).toMatchObject({ name: "TimeoutError" });
      const head = await call("HEAD", `/hang-${hang}`);
      expect(head.status).toBe(hang === "answer" ? 200 : 404);
    });

    test("delay, latency and bandwidth take their time", async () => {
      const timed = async (work: Promise<unknown>): Promise<number> => {
        const start = performance.now();
        await work;
        return performance.now() - start;
      };
      using _ = proxy.inject({ delay: 300 }, puts);
      expect(await timed(call("PUT", "/slow", { body: "x" }))).toBeGreaterThan(290);
      proxy.latency = 200;
      expect(await timed(call("HEAD", "/slow"))).toBeGreaterThan(190);
      proxy.latency = 0;
      proxy.bytesPerSecond = 1_000_000;
      await call("PUT", "/wide", { body: new Uint8Array(400_000) });
      expect(await timed(call("GET", "/wide"))).toBeGreaterThan(350);
      proxy.bytesPerSecond = 0;
      expect(await timed(call("GET", "/wide"))).toBeLessThan(300);
    });

    test("a late delete", async () => {
      await call("PUT", "/late", { body: "x" });
      proxy.deleteDelay = 200;
      expect((await call("DELETE", "/late")).status).toBe(204);
      proxy.deleteDelay = 0;
      expect((await call("HEAD", "/late")).status).toBe(200);
      await Bun.sleep(400);
      expect((await call("HEAD", "/late")).status).toBe(404);
    });

    test("nobody listens, and then somebody does", async () => {
      const { endpoint } = proxy;
      await proxy.refuseConnections();
      expect(await failure(call("HEAD", "/x"))).toBeInstanceOf(Error);
      expect(proxy.log).toEqual([]);
      await proxy.listen();
      expect(proxy.endpoint).toBe(endpoint);
      expect((await call("HEAD", "/x")).status).toBe(404);
    });
  });
});
