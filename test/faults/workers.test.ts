import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { pullBlob, pushBlob } from "../support/blob.ts";
import { alive, freePort, signal, until } from "../support/processes.ts";
import { startServer } from "../support/server.ts";

/** As clients do: a request that fails on its connection is repeated. */
async function patientGet(url: string): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await fetch(url);
      await response.bytes();
      return response.status;
    } catch (error) {
      if (attempt === 5) throw error;
      await Bun.sleep(20 * attempt);
    }
  }
}

test("a killed worker is replaced, and requests that are repeated succeed", async () => {
  await using server = await startServer({ workers: 2 });
  const before = server.workers();
  expect(before).toHaveLength(2);
  let running = true;
  const clients = Array.from({ length: 8 }, async () => {
    let count = 0;
    for (; running; count++) expect(await patientGet(`${server.url}/v2/`)).toBe(200);
    return count;
  });
  await Bun.sleep(200);
  const [victim = 0] = before;
  signal(victim, "SIGKILL");
  await until(
    () => server.workers().length === 2 && !server.workers().includes(victim),
    3000,
    "a new worker",
  );
  await Bun.sleep(300);
  running = false;
  for (const count of await Promise.all(clients)) expect(count).toBeGreaterThan(10);
  expect(server.logs()).toContain("a worker ended unexpectedly and is replaced");
});

test("a worker that dies again and again ends the server with the reason", async () => {
  await using server = await startServer({ workers: 1 });
  let over = false;
  const exited = server.exited.finally(() => (over = true));
  while (!over) {
    for (const pid of server.workers()) signal(pid, "SIGKILL");
    await Bun.sleep(10);
  }
  expect(await exited).toBe(1);
  expect(server.logs()).toContain(
    "worker 1 ended 5 times right after its start, the last time with signal SIGKILL",
  );
  await server.kill();
});

test("parent killed: nothing is left within 2 s, and a restart has everything", async () => {
  await using server = await startServer({ workers: 2 });
  const bytes = new Uint8Array(randomBytes(100_000));
  const digest = await pushBlob(server.url, "a/b", bytes);
  const workers = server.workers();
  const started = performance.now();
  await server.kill();
  await until(() => !workers.some(alive), 2000, "the workers to end");
  expect(performance.now() - started).toBeLessThan(2000);
  await using again = await startServer({ data: server.data, port: server.port });
  expect(sha(await pullBlob(again.url, "a/b", digest))).toBe(sha(bytes));
});

function sha(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

async function scrape(port: number): Promise<Map<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const samples = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    samples.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]),
  );
}

const ROOT_GETS = 'holdfast_http_requests_total{route="/v2/",method="GET",code="200"}';

test("metrics are the sum over the workers and never go down when one dies", async () => {
  const port = freePort();
  await using server = await startServer({ workers: 2, metrics: port });
  // New connections, so that both workers get some.
  for (let i = 0; i < 60; i++)
    await fetch(`${server.url}/v2/`, { headers: { connection: "close" } });
  const first = await scrape(port);
  expect(first.get(ROOT_GETS)).toBe(60);
  expect(first.get("holdfast_workers")).toBe(2);
  expect(first.get('holdfast_worker_resident_bytes{worker="2"}')).toBeGreaterThan(10_000_000);
  expect(first.get("holdfast_storage_free_bytes")).toBeGreaterThan(0);
  expect(first.get("holdfast_http_in_flight")).toBe(0);

  const [victim = 0] = server.workers();
  signal(victim, "SIGKILL");
  await until(
    async () => (await scrape(port)).get("holdfast_worker_restarts_total") === 1,
    3000,
    "a restart",
  );
  const second = await scrape(port);
  for (const [name, value] of first)
    if (/_(total|count|bucket)(\{|$)/.test(name))
      expect({ name, value: second.get(name) ?? 0 }).toSatisfy((now) => now.value >= value);
  expect(second.get(ROOT_GETS)).toBe(60);
  await until(async () => (await patientGet(`${server.url}/v2/`)) === 200, 3000, "an answer");
  await until(async () => ((await scrape(port)).get(ROOT_GETS) ?? 0) > 60, 3000, "new requests");
});

test("log lines of two workers under load are whole JSON objects on a pipe", async () => {
  await using server = await startServer({ workers: 2, pipeLog: true });
  const path = `/v2/${"very/long/name/".repeat(10)}x/tags/list`;
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (let i = 0; i < 150; i++)
        await fetch(server.url + path, {
          headers: { connection: i % 10 ? "keep-alive" : "close" },
        });
    }),
  );
  await server.stop();
  const lines = server
    .logs()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const requests = lines.filter((line) => line["path"] === path);
  expect(requests).toHaveLength(16 * 150);
  expect(new Set(requests.map((line) => line["from"]))).toEqual(new Set(["worker 1", "worker 2"]));
  expect(new Set(requests.map((line) => line["id"])).size).toBe(16 * 150);
});
