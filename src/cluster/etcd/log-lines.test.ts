import { expect, test } from "bun:test";
import type { Fields, Level, Logger } from "../../base/log.ts";
import { EtcdLog, parseLine } from "./log-lines.ts";

const recorder = () => {
  const lines: (readonly [Level, string, Fields | undefined])[] = [];
  const at = (level: Level) => (message: string, fields?: Fields) =>
    void lines.push([level, message, fields]);
  const log: Logger = {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    request: () => {},
  };
  return { log, lines };
};

test("levels, sentence and fields are taken over; place and time are ours", () => {
  const line = (level: string) =>
    parseLine(
      `{"level":"${level}","ts":"2026-11-21T18:45:34.894Z","caller":"etcdmain/etcd.go:176","msg":"m","took":"2s","stacktrace":"s"}`,
    );
  expect(line("warn")).toEqual({ level: "warn", message: "m", fields: { took: "2s" } });
  for (const level of ["error", "dpanic", "panic", "fatal"])
    expect(line(level)?.level).toBe("error");
  expect(parseLine("panic: nil map")).toBeUndefined();
  expect(parseLine("1")).toBeUndefined();
});

test("lines are put together from pieces, and the last one needs no end", async () => {
  const { log, lines } = recorder();
  const text = `{"level":"warn","msg":"ü"}\n\n{"level":"fatal","msg":"b","error":"port taken"}`;
  const bytes = new TextEncoder().encode(text);
  const said = new EtcdLog(log);
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  await said.follow(stream);
  expect(lines).toEqual([
    ["warn", "etcd: ü", {}],
    ["error", "etcd: b", { error: "port taken" }],
  ]);
  expect(said.lastError).toBe("b: port taken");
});

test("what is said again at once is for the debug log", () => {
  const { log, lines } = recorder();
  const said = new EtcdLog(log);
  for (const msg of ["a", "a", "b"]) said.line(JSON.stringify({ level: "warn", msg }));
  expect(lines.map(([level]) => level)).toEqual(["warn", "debug", "warn"]);
});

test("of a panic the first line is the error", () => {
  const { log, lines } = recorder();
  const said = new EtcdLog(log);
  for (const line of ["panic: nil map", "", "goroutine 1 [running]:", "main.main()"])
    said.line(line);
  expect(said.lastError).toBe("panic: nil map");
  expect(lines.map(([level]) => level)).toEqual(["error", "debug", "debug"]);
});

test("lines of libraries are no panic", () => {
  const { log, lines } = recorder();
  const said = new EtcdLog(log);
  for (const line of [
    "WARNING: 2026/11/21 19:01:05 [core] grpc: createTransport failed",
    "2026/11/21 19:01:06 http: TLS handshake error",
    "panic: nil map",
  ])
    said.line(line);
  expect(said.lastError).toBe("panic: nil map");
  expect(lines.map(([level]) => level)).toEqual(["warn", "debug", "error"]);
});

test("a removal is told by the member itself, not by others that it speaks to", () => {
  const said = new EtcdLog(recorder().log);
  const gone = "the member has been permanently removed from the cluster";
  const say = (msg: string, error: string) =>
    said.line(JSON.stringify({ level: "warn", msg, error }));
  say("peer became inactive", `failed to dial b7 on stream MsgApp v2 (${gone})`);
  expect(said.wasRemoved).toBe(false);
  say("server error", gone);
  expect(said.wasRemoved).toBe(true);
});
