import { describe, expect, test } from "bun:test";
import { StorjAuth } from "../../../../test/support/storj-auth.ts";
import { makeGrant } from "../../../../test/support/storj-grant.ts";
import { registerGrant } from "./auth-service.ts";
import { StorjError } from "./error.ts";

const ENDPOINT = "https://gateway.storj.test";
const GRANT = makeGrant();
const quick = { accessGrant: GRANT, timeout: 300, attempts: 3, pause: 10 };

function serve(): StorjAuth {
  return new StorjAuth({ endpoint: ENDPOINT });
}

async function problem(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof StorjError) return error.message;
    throw error;
  }
  return "";
}

test("a grant becomes a key pair and an endpoint; the same grant another pair", async () => {
  await using auth = serve();
  const first = await registerGrant({ ...quick, authService: `${auth.url}/` });
  const second = await registerGrant({ ...quick, authService: auth.url });
  expect(first.endpoint).toBe(ENDPOINT);
  expect(first.accessKeyId).not.toBe(second.accessKeyId);
  expect(auth.registered).toEqual([GRANT, GRANT]);
});

describe("what may pass is repeated:", () => {
  test.each([
    ["500", () => new Response("", { status: 500 })],
    ["503", () => new Response("", { status: 503 })],
    ["429", () => new Response("", { status: 429, headers: { "retry-after": "0" } })],
    ["no answer", () => "hang" as const],
  ])("%s", async (_, answer) => {
    await using auth = serve();
    auth.script.push(answer(), answer());
    const pair = await registerGrant({ ...quick, authService: auth.url });
    expect(pair.endpoint).toBe(ENDPOINT);
    expect(auth.requests).toBe(3);
  });

  test("Retry-After is waited for", async () => {
    await using auth = serve();
    auth.script.push(new Response("", { status: 503, headers: { "retry-after": "1" } }));
    const start = performance.now();
    await registerGrant({ ...quick, authService: auth.url });
    expect(performance.now() - start).toBeGreaterThan(990);
  });

  test("but not for ever", async () => {
    await using auth = serve();
    auth.script.push("hang", new Response("", { status: 500 }), "hang", "hang");
    const start = performance.now();
    expect(await problem(registerGrant({ ...quick, authService: auth.url }))).toBe(
      `Storj's auth service at ${auth.url} cannot be used now (no answer within 300 ms): try again later, or check the network and storage.storj.authService`,
    );
    expect(performance.now() - start).toBeLessThan(2000);
    expect(auth.requests).toBe(3);
  });

  test("an answer that breaks off", async () => {
    const torn = `HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"access_key_id":"jw`;
    let requests = 0;
    const data = (socket: Bun.Socket): void => {
      requests++;
      socket.end(torn);
    };
    using server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data } });
    const authService = `http://127.0.0.1:${server.port}`;
    const said = await problem(registerGrant({ ...quick, authService }));
    expect(said).toContain("cannot be used now (ECONNRESET)");
    expect(requests).toBe(3);
  });

  test("nobody there", async () => {
    const gone = serve();
    const { url } = gone;
    await gone[Symbol.asyncDispose]();
    expect(await problem(registerGrant({ ...quick, authService: url }))).toMatch(
      /^Storj's auth service at .* cannot be used now \(ECONNREFUSED\): try again later/,
    );
  });
});

describe("what is final is said once:", () => {
  test("a grant that the service refuses", async () => {
    await using auth = serve();
    auth.satellites = ["other@satellite:7777"];
    const said = await problem(registerGrant({ ...quick, authService: auth.url }));
    expect(said).toContain(
      'refused storage.storj.accessGrant ("access grant contains disallowed satellite',
    );
    expect(said).toContain(
      "set storage.storj.authService to the one that belongs to the satellite",
    );
    expect(auth.requests).toBe(1);
  });

  test.each([
    [413, "finds storage.storj.accessGrant too long"],
    [404, "does not answer like Storj's auth service (status 404"],
    [422, "does not answer like Storj's auth service (status 422"],
    [301, "does not answer like Storj's auth service (status 301"],
  ])("status %i", async (status, words) => {
    await using auth = serve();
    auth.script.push(
      new Response("no", { status, headers: { location: "http://127.0.0.1:1/v1/access" } }),
    );
    expect(await problem(registerGrant({ ...quick, authService: auth.url }))).toContain(words);
    expect(auth.requests).toBe(1);
  });

  test.each([
    ["not JSON", "<html>", "its answer is not JSON"],
    ["no object", "7", "its answer has no access_key_id"],
    ["no secret", '{"access_key_id":"jw1"}', "its answer has no secret_key"],
    [
      "a secret that no header takes",
      '{"access_key_id":"jw1","secret_key":"a\\r\\nb","endpoint":"https://g"}',
      "its answer has no secret_key",
    ],
    [
      "no endpoint",
      '{"access_key_id":"jw1","secret_key":"s","endpoint":"gateway"}',
      "the endpoint in its answer is no URL",
    ],
    ["endless", "x".repeat(200_000), "its answer is not JSON"],
  ])("an answer of something else: %s", async (_, body, words) => {
    await using auth = serve();
    auth.script.push(new Response(body));
    const said = await problem(registerGrant({ ...quick, authService: auth.url }));
    expect(said).toContain(words);
    expect(said).toContain("check storage.storj.authService");
    expect(auth.requests).toBe(1);
  });
});

test("neither the grant nor a password in the address shows in a message", async () => {
  await using auth = serve();
  const authService = auth.url.replace("//", "//user:hidden@");
  auth.script.push(
    new Response(`bad grant ${GRANT}\nmore`, { status: 400 }),
    ...Array.from({ length: 3 }, () => new Response(GRANT, { status: 500 })),
  );
  for (let i = 0; i < 2; i++) {
    const said = await problem(registerGrant({ ...quick, authService }));
    expect(said).toContain(auth.url);
    expect(said).not.toContain(GRANT);
    expect(said).not.toContain("hidden");
  }
});
