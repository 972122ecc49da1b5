import { describe, expect, test } from "bun:test";
import { Metrics } from "../base/metrics.ts";
import { loaderIn, temporaryDirectory } from "../config/config-fixture.ts";
import { RequestBody } from "./body.ts";
import { HttpMetrics } from "./metrics.ts";
import type { Peer } from "./server.ts";
import { UploadGate } from "./upload-gate.ts";

const load = loaderIn(temporaryDirectory());

const SIZED: Record<string, string> = { "Content-Length": "5" };
const CHUNKED: Record<string, string> = { "Transfer-Encoding": "chunked" };

function gateOf(concurrentUploads: number, uploadIdle = "30s", uploadRate = 1024) {
  const yaml = `limits: { concurrentUploads: ${concurrentUploads}, uploadIdle: ${uploadIdle}, uploadRate: ${uploadRate} }\n`;
  const metrics = new Metrics();
  const gate = new UploadGate(load({ yaml }).config, new HttpMetrics(metrics));
  const idle: number[] = [];
  const peer: Peer = { address: undefined, setIdle: (seconds) => void idle.push(seconds) };
  const upload = async (run: () => Promise<Response>, headers = SIZED) =>
    gate.pass(new RequestBody(new Request("http://h/", { method: "PUT", headers })), peer, run);
  const figure = (name: string) =>
    Object.values(metrics.snapshot().find((family) => family.name === name)?.samples ?? {})[0]?.[0];
  return { gate, peer, idle, upload, figure };
}

/** Fills the gate with uploads that end when told. */
function fill(upload: ReturnType<typeof gateOf>["upload"], count: number) {
  const { promise, resolve } = Promise.withResolvers<void>();
  const running = Array.from({ length: count }, async (_, i) =>
    upload(
      async () => {
        await promise;
        return new Response();
      },
      i % 2 === 0 ? SIZED : CHUNKED,
    ),
  );
  return {
    release: async () => {
      resolve();
      await Promise.all(running);
    },
  };
}

/** So many pieces of 1000 bytes, or as given. */
function chunks(
  count: number,
  sizes: readonly number[] = [],
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let next = 0;
  return new ReadableStream({
    async pull(controller) {
      await Bun.sleep(0);
      if (next < count) controller.enqueue(new Uint8Array(sizes[next++] ?? 1000));
      else controller.close();
    },
  });
}

const done = async () => new Response();

describe("the gate for uploads", () => {
  test("lets as many in as configured, tells the next one when to come again, and reopens", async () => {
    const { upload, figure } = gateOf(3);
    const { release } = fill(upload, 3);
    expect(figure("holdfast_uploads_active")).toBe(3);
    expect(upload(done)).rejects.toMatchObject({
      code: "TOOMANYREQUESTS",
      status: 429,
      headers: { "Retry-After": "1" },
    });
    await release();
    expect(figure("holdfast_uploads_active")).toBe(0);
    expect((await upload(done)).status).toBe(200);
  });

  test("does not count requests without a body", async () => {
    const { gate, peer, idle, upload } = gateOf(1);
    const { release } = fill(upload, 1);
    idle.length = 0;
    for (const headers of [{}, { "Content-Length": "0" }]) {
      const empty = new RequestBody(new Request("http://h/", { method: "POST", headers }));
      expect((await gate.pass(empty, peer, done)).status).toBe(200);
    }
    expect(idle).toEqual([255, 255]);
    await release();
  });

  test("counts the bytes that came, however they were announced, and of failures too", async () => {
    const { gate, peer, figure } = gateOf(1);
    for (const [i, headers] of [SIZED, CHUNKED].entries()) {
      const sent = new Request("http://h/", { method: "PUT", headers, body: "12345" });
      const body = new RequestBody(sent);
      const failed = gate.pass(body, peer, async () => {
        await Array.fromAsync(body.stream());
        throw new Error("refused");
      });
      expect(await failed.catch(String)).toBe("Error: refused");
      expect(figure("holdfast_uploads_bytes_total")).toBe(5 * (i + 1));
    }
  });

  test("reopens after a failure", async () => {
    const { upload, figure } = gateOf(1);
    for (let i = 0; i < 3; i++) {
      const failed = upload(async () => Promise.reject(new Error("broke off")));
      expect(failed).rejects.toThrow("broke off");
      await failed.catch(() => undefined);
    }
    expect(figure("holdfast_uploads_active")).toBe(0);
  });

  test("lets a body stall no longer than configured, within what a socket can count", async () => {
    for (const [text, seconds] of [
      ["30s", 30],
      ["1500ms", 2],
      ["1h", 255],
    ] as const) {
      const { upload, idle } = gateOf(1, text);
      await upload(done);
      expect(idle).toEqual([seconds]);
    }
  });

  test("gives a body its time again only for as many bytes as the rate asks in it", async () => {
    // Chunks of 1000 bytes; the number after which the socket is told anew, of every rate.
    for (const [rate, after] of [
      [0, [1, 2, 3, 4, 5, 6]],
      [500, [1, 2, 3, 4, 5, 6]],
      [1000, [2, 4, 6]],
      [1200, [3, 5]],
      [9999, []],
    ] as const) {
      const { gate, peer, idle } = gateOf(1, "2s", rate);
      const sent = new Request("http://h/", { method: "PATCH", headers: CHUNKED, body: chunks(6) });
      const body = new RequestBody(sent);
      const told: number[] = [];
      await gate.pass(body, peer, async () => {
        let count = 0;
        for await (const _ of body.stream()) {
          count++;
          if (idle.length > 1 + told.length) told.push(count);
        }
        return new Response();
      });
      expect([rate, told]).toEqual([rate, [...after]]);
      expect(idle.at(-1)).toBe(255);
    }
  });

  test("gives a body that has brought bytes ahead its time for some of them, however many there were", async () => {
    for (const [ahead, after] of [
      [400, [1, 2]],
      [1_000_000, [1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ] as const) {
      const { gate, peer, idle } = gateOf(1, "2s", 100);
      const sizes = [ahead, ...Array.from({ length: 19 }, () => 1)];
      const sent = new Request("http://h/", {
        method: "PATCH",
        headers: CHUNKED,
        body: chunks(20, sizes),
      });
      const body = new RequestBody(sent);
      const told: number[] = [];
      await gate.pass(body, peer, async () => {
        let count = 0;
        for await (const _ of body.stream()) {
          count++;
          if (idle.length > 1 + told.length) told.push(count);
        }
        return new Response();
      });
      expect([ahead, told]).toEqual([ahead, [...after]]);
    }
  });
});
