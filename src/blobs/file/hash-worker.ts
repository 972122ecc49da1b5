/** The hash thread: hashes and writes the chunks of large uploads, so that the event loop does neither. */
import os from "node:os";
import { BufferPool } from "./buffer-pool.ts";
import type { FromHashThread, ToHashThread } from "./hash-messages.ts";
import { BUFFER, StreamWriter, type Running } from "./stream-writer.ts";

declare const self: {
  addEventListener(
    type: "message",
    listener: (event: { readonly data: ToHashThread }) => void,
  ): void;
  postMessage(message: FromHashThread): void;
};
const answer = self.postMessage.bind(self);

/** Buffers of all streams together: enough to keep the disk and the hash busy. */
const BUFFERS = 8;
/** Running hashes kept for uploads that continue. */
const KEPT_MAX = 64;
/** Of 19; at 10 a thread that competes with one at 0 gets a tenth of the time. */
const NICENESS = 10;

const pool = new BufferPool(BUFFERS, BUFFER);
const streams = new Map<number, StreamWriter>();
const kept = new Map<string, Running>();
let hasStopped = false;

// On Linux this is the priority of the calling thread alone: uploads take what requests leave them.
if (process.platform === "linux") os.setPriority(NICENESS);

self.addEventListener("message", ({ data }) => {
  if (!hasStopped) handle(data).catch((error: unknown) => stop(messageOf(error)));
});

async function handle(message: ToHashThread): Promise<void> {
  switch (message.type) {
    case "begin":
      begin(message);
      break;
    case "write":
      await streams.get(message.stream)?.write(message.chunks, message.flush);
      break;
    case "digest":
      await digest(message);
      break;
    case "end":
      await end(message.stream, message.keep);
      break;
    case "stop":
      await stop();
      break;
  }
}

function begin({ stream, fd, size, algorithm, key }: ToHashThread & { type: "begin" }): void {
  let running = kept.get(key);
  kept.delete(key);
  if (!running && size === 0) running = { algorithm, hasher: new Bun.CryptoHasher(algorithm) };
  const writer = new StreamWriter({ fd, size }, running, pool, {
    written: (written) => answer({ type: "written", stream, size: written }),
    failed: (good, error) => fail(stream, good, error),
  });
  streams.set(stream, writer);
}

async function digest({ stream, algorithm }: ToHashThread & { type: "digest" }): Promise<void> {
  const writer = streams.get(stream);
  if (!writer) return;
  try {
    answer({ type: "digest", stream, hex: await writer.digest(algorithm) });
  } catch (error) {
    fail(stream, writer.size, error);
  }
}

function fail(stream: number, size: number, error: unknown): void {
  const { code } = error as ErrnoException;
  answer({ type: "failed", stream, size, code, message: messageOf(error) });
}

async function end(id: number, keep: string | undefined): Promise<void> {
  const writer = streams.get(id);
  streams.delete(id);
  const running = writer?.running;
  if (running && keep !== undefined) kept.set(keep, running);
  if (kept.size > KEPT_MAX) {
    const [oldest] = kept.keys();
    if (oldest !== undefined) kept.delete(oldest);
  }
  await writer?.end();
}

/** Says that it has stopped only when no write is under way that could hit a descriptor's next file. */
async function stop(error?: string): Promise<void> {
  hasStopped = true;
  await Promise.all(Array.from(streams.values(), (writer) => writer.end()));
  answer(error === undefined ? { type: "stopped" } : { type: "stopped", error });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
