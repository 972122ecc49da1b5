import { randomBytes } from "node:crypto";
import { expect, test } from "bun:test";
import { CHUNK, chunks, rejection, startNode, tap } from "./peer-fixture.ts";
import type { PeerHandlers } from "./server.ts";

const MIB = 1 << 20;
const STREAM_CHUNKS = 1024;

/** Counts what arrives, and tells how each body ended. */
function counting(ends: string[]): PeerHandlers {
  return {
    "/v1/sink": async (request) => {
      let bytes = 0;
      try {
        for await (const chunk of request.body ?? []) bytes += chunk.byteLength;
      } catch (error) {
        ends.push("cut");
        throw error;
      }
      ends.push(`whole ${bytes}`);
      return new Response(String(bytes));
    },
  };
}

async function peakOf(run: () => Promise<void>): Promise<number> {
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  let peak = before;
  const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 5);
  await run();
  clearInterval(timer);
  return (Math.max(peak, process.memoryUsage.rss()) - before) / MIB;
}

test("256 MiB go either way, right to the byte, in flat memory", async () => {
  const piece = randomBytes(CHUNK);
  const source = (): ReadableStream<Uint8Array<ArrayBuffer>> => {
    let left = 4 * STREAM_CHUNKS;
    return new ReadableStream(
      {
        pull(controller) {
          if (left-- === 0) controller.close();
          else controller.enqueue(new Uint8Array(piece));
        },
      },
      { highWaterMark: 0 },
    );
  };
  const digestOf = async (body: AsyncIterable<Uint8Array> | null): Promise<string> => {
    const hash = new Bun.CryptoHasher("sha256");
    for await (const chunk of body ?? []) hash.update(chunk);
    return hash.digest("hex");
  };
  await using node = startNode({
    handlers: {
      "/v1/sink": async (request) => new Response(await digestOf(request.body)),
      "/v1/source": () => new Response(source()),
    },
  });
  const right = await digestOf(source());
  const both = async (): Promise<void> => {
    const up = { method: "PUT", body: source(), timeoutMs: 30_000 } as const;
    const sent = await node.peers.fetch(node.address, "/v1/sink", up);
    expect(await sent.text()).toBe(right);
    const got = await node.peers.fetch(node.address, "/v1/source", {
      method: "GET",
      timeoutMs: 30_000,
    });
    expect(await digestOf(got.body)).toBe(right);
  };
  // What the runtime takes for itself is taken once.
  await both();
  const peak = await peakOf(both);
  expect(peak).toBeLessThan(128);
});

test("a receiver that does not read stops the source, in either direction", async () => {
  let sent = 0;
  let served = 0;
  const { promise: go, resolve: release } = Promise.withResolvers<void>();
  await using node = startNode({
    handlers: {
      "/v1/slow": async (request) => {
        await go;
        return new Response(String((await request.arrayBuffer()).byteLength));
      },
      "/v1/source": () => new Response(chunks(STREAM_CHUNKS, () => void served++)),
    },
  });
  const up = node.peers.fetch(node.address, "/v1/slow", {
    method: "PUT",
    body: chunks(STREAM_CHUNKS, () => void sent++),
    timeoutMs: 5000,
  });
  const down = await node.peers.fetch(node.address, "/v1/source", {
    method: "GET",
    timeoutMs: 5000,
  });
  await Bun.sleep(500);
  const [sentThen, servedThen] = [sent, served];
  expect(sentThen).toBeGreaterThan(0);
  expect(servedThen).toBeGreaterThan(0);
  // Sockets and Bun hold some MiB.
  expect(sentThen * CHUNK).toBeLessThan(24 * MIB);
  expect(servedThen * CHUNK).toBeLessThan(24 * MIB);
  release();
  expect(await (await up).text()).toBe(String(STREAM_CHUNKS * CHUNK));
  expect((await down.arrayBuffer()).byteLength).toBe(STREAM_CHUNKS * CHUNK);
});

test("a source that breaks is an error for both, and is not the peer's", async () => {
  const ends: string[] = [];
  await using node = startNode({ handlers: counting(ends) });
  const broken = new Error("the client went away");
  const body = chunks(100, (index) => {
    if (index === 50) throw broken;
  });
  const call = node.peers.fetch(node.address, "/v1/sink", { method: "PUT", body, timeoutMs: 1000 });
  expect(await rejection(call)).toBe(broken);
  await Bun.sleep(50);
  expect(ends).toEqual(["cut"]);
  expect(node.errors).toEqual([]);
});

test("a body cut on its way is an error for both, whichever way it goes", async () => {
  const ends: string[] = [];
  let served = 0;
  await using node = startNode({
    handlers: {
      ...counting(ends),
      "/v1/source": () => new Response(chunks(1000, () => (served++, Bun.sleep(5)))),
    },
  });
  await using wire = await tap(node.server.port);
  const up = node.peers.fetch(wire.address, "/v1/sink", {
    method: "PUT",
    body: chunks(1000, () => Bun.sleep(5)),
    timeoutMs: 5000,
  });
  const down = await node.peers.fetch(wire.address, "/v1/source", {
    method: "GET",
    timeoutMs: 5000,
  });
  const reading = down.arrayBuffer();
  setTimeout(() => wire.cut(), 150);
  const [sending, got] = await Promise.all([rejection(up), rejection(reading)]);
  expect(sending).toMatchObject({ name: "PeerUnavailable" });
  expect(got).toBeInstanceOf(Error);
  await Bun.sleep(100);
  expect(ends).toEqual(["cut"]);
  const servedThen = served;
  await Bun.sleep(100);
  expect(served).toBe(servedThen);
});

test("an answer that breaks on the serving side is an error for who reads it", async () => {
  await using node = startNode({
    handlers: {
      "/v1/source": () =>
        new Response(
          chunks(100, (index) => {
            if (index === 30) throw new Error("a bad sector");
          }),
        ),
    },
  });
  const answer = await node.peers.fetch(node.address, "/v1/source", {
    method: "GET",
    timeoutMs: 1000,
  });
  expect(await rejection(answer.arrayBuffer())).toBeInstanceOf(Error);
});

test("a handler that answers early ends the sending, and the next request goes through", async () => {
  let sent = 0;
  await using node = startNode({
    handlers: { "/v1/full": () => new Response("no space", { status: 507 }) },
  });
  for (let round = 0; round < 3; round++) {
    const answer = await node.peers.fetch(node.address, "/v1/full", {
      method: "PUT",
      body: chunks(100_000, () => void sent++),
      timeoutMs: 1000,
    });
    expect([answer.status, await answer.text()]).toEqual([507, "no space"]);
  }
  const then = sent;
  await Bun.sleep(100);
  expect(sent).toBe(then);
  expect(sent).toBeLessThan(1000);
});

test("a large Blob is sent with its length", async () => {
  await using node = startNode({
    handlers: {
      "/v1/length": async (request) => {
        const { byteLength } = await request.arrayBuffer();
        return Response.json([request.headers.get("content-length"), byteLength]);
      },
    },
  });
  for (const size of [0, 1000, 3 * MIB + 1]) {
    const body = new Blob([new Uint8Array(size)]);
    const request = { method: "POST", body, timeoutMs: 1000 } as const;
    const answer = await node.peers.fetch(node.address, "/v1/length", request);
    expect(await answer.json()).toEqual([String(size), size]);
  }
});

test("no byte of a body, path or header travels in clear", async () => {
  const marker = (name: string): string => `${name}-${"0123456789abcdef".repeat(4)}`;
  const [asked, answered, path] = [marker("asked"), marker("answered"), marker("path")];
  await using node = startNode({
    name: "node-in-the-token",
    handlers: {
      "/v1/echo": async (request) => {
        expect(await request.text()).toBe(asked.repeat(1000));
        return new Response(answered.repeat(1000));
      },
    },
  });
  await using wire = await tap(node.server.port);
  const request = { method: "PUT", body: asked.repeat(1000), timeoutMs: 1000 } as const;
  const answer = await node.peers.fetch(wire.address, `/v1/echo/${path}`, request);
  expect(await answer.text()).toBe(answered.repeat(1000));
  const recorded = wire.recorded();
  expect(recorded.byteLength).toBeGreaterThan(1000 * (asked.length + answered.length));
  for (const text of [asked, answered, path, "0123456789abcdef", "HTTP/1.1", "node-in-the-token"])
    expect(recorded.includes(text)).toBe(false);
});
