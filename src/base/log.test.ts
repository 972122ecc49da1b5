import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { LineSink } from "./line-sink.ts";
import { createLogger, type LogOptions, type OwnLogger, type RequestFields } from "./log.ts";

const options: LogOptions = { level: "info", format: "json", requests: true, from: "worker 1" };

async function written(
  use: (log: OwnLogger) => void,
  changed: Partial<LogOptions> = {},
): Promise<string[]> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-log-"));
  const path = join(directory, "log");
  const fd = openSync(path, "a");
  try {
    const log = createLogger({ ...options, ...changed }, new LineSink(fd));
    use(log);
    await log.flush();
    return readFileSync(path, "utf8").split("\n").slice(0, -1);
  } finally {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  }
}

const request: RequestFields = {
  id: "r-1",
  method: "GET",
  path: "/v2/a/manifests/b",
  route: "/v2/{name}/manifests/{reference}",
  status: 200,
  seconds: 0.001_234_567,
  bytesIn: 0,
  bytesOut: 12,
};

describe("JSON lines", () => {
  test("a request is one object with every field that was given", async () => {
    const [line = ""] = await written((log) => log.request({ ...request, agent: "crane/1" }));
    expect(JSON.parse(line)).toEqual({
      ...request,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      level: "info",
      from: "worker 1",
      message: "request",
      seconds: 0.001_235,
      agent: "crane/1",
    });
  });

  test("whatever a client sends stays one valid line that a pipe takes whole", async () => {
    const text = fc.string({ unit: "binary", maxLength: 3000 });
    await fc.assert(
      fc.asyncProperty(text, text, text, async (path, agent, error) => {
        const lines = await written((log) => {
          log.request({ ...request, path, agent, error, id: path.slice(0, 128) });
          log.warn(error, { [agent.slice(0, 50)]: path, nested: { path, agent, error } });
        });
        expect(lines).toHaveLength(2);
        for (const line of lines) {
          expect(Buffer.byteLength(line)).toBeLessThan(4096);
          expect(JSON.parse(line)).toHaveProperty("time");
        }
      }),
      { numRuns: 100 },
    );
  });

  test("an error is told with its cause", async () => {
    const [line = ""] = await written((log) =>
      log.error("failed", { error: new Error("outer", { cause: new Error("inner") }) }),
    );
    expect(JSON.parse(line)).toMatchObject({ level: "error", message: "failed" });
    expect(JSON.parse(line).error).toMatch(/outer[^]*caused by[^]*inner/);
  });
});

describe("what is written", () => {
  test("only levels from the configured one on", async () => {
    const lines = await written(
      (log) => {
        log.debug("a");
        log.info("b");
        log.warn("c");
        log.error("d");
        log.request(request);
        log.request({ ...request, status: 503 });
      },
      { level: "warn" },
    );
    expect(lines.map((line) => JSON.parse(line).level)).toEqual(["warn", "error", "error"]);
  });

  test("no request lines when they are off", async () => {
    expect(await written((log) => log.request(request), { requests: false })).toEqual([]);
  });
});

test("text is for people, and a client cannot forge a line or drive the terminal", async () => {
  const lines = await written(
    (log) => {
      log.request({ ...request, path: "/v2/\n12:00:00 INFO  forged\x1b[2J" });
      log.info("started", { data: "/srv/with space" });
    },
    { format: "text" },
  );
  expect(lines).toHaveLength(2);
  expect(lines[0]).toContain(
    "200 GET /v2/ | 12:00:00 INFO  forged\\u001b[2J  1.2 ms, 12 B out, r-1",
  );
  expect(lines[1]).toMatch(/^\d\d:\d\d:\d\d INFO {2}started data="\/srv\/with space"$/);
});

test("a reader that stalls costs lines, not memory or the event loop, and is told how many", async () => {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-log-"));
  const fifo = join(directory, "fifo");
  expect(Bun.spawnSync(["mkfifo", fifo]).exitCode).toBe(0);
  // Both ends, so that opening does not wait and nothing reads.
  const held = openSync(fifo, "r+");
  const child = Bun.spawn(
    [
      process.execPath,
      "-e",
      `import { LineSink } from ${JSON.stringify(join(import.meta.dir, "line-sink.ts"))};
       import { createLogger } from ${JSON.stringify(join(import.meta.dir, "log.ts"))};
       const log = createLogger(${JSON.stringify(options)}, new LineSink(1));
       for (let i = 0; i < 20000; i++) {
         log.info("line", { i, filler: "x".repeat(100) });
         if (i % 100 === 0) await Bun.sleep(0);
       }
       process.stderr.write("done");
       await Bun.stdin.text();
       log.info("later");
       await log.flush();`,
    ],
    { stdin: "pipe", stdout: held, stderr: "pipe" },
  );
  // It gets to its end although nobody has read a byte of 4 MB.
  const { value } = await child.stderr.getReader().read();
  expect(new TextDecoder().decode(value)).toBe("done");
  const reader = Bun.spawn(["cat", fifo], { stdout: "pipe" });
  const output = new Response(reader.stdout).text();
  await Bun.sleep(300);
  await child.stdin.end();
  expect(await child.exited).toBe(0);
  closeSync(held);
  const lines = (await output)
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { message: string; dropped?: number });
  const dropped = lines.reduce((sum, line) => sum + (line.dropped ?? 0), 0);
  const kept = lines.filter(({ message }) => message === "line").length;
  expect(dropped).toBeGreaterThan(10_000);
  expect(kept + dropped).toBe(20_000);
  expect(lines.some(({ message }) => message === "later")).toBe(true);
  rmSync(directory, { recursive: true });
});
