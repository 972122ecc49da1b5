import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Algorithm } from "../../oci/digest.ts";
import { digestOf, failureOf, randomBytes } from "../conformance-tools.ts";
import { BlobStoreUnavailable } from "../port.ts";
import { HashThread } from "./hash-thread.ts";

const root = fs.mkdtempSync(join(tmpdir(), "holdfast-thread-"));
afterAll(() => fs.rmSync(root, { recursive: true }));

function begin(thread: HashThread, algorithm: Algorithm): ReturnType<HashThread["begin"]> {
  const fd = fs.openSync(join(root, crypto.randomUUID()), "w+");
  return thread.begin({ fd, size: 0, algorithm, key: crypto.randomUUID() });
}

test("an error that the thread cannot go on after fails its streams, and the next gets a new thread", async () => {
  const thread = new HashThread();
  const first = begin(thread, "sha256");
  const bytes = randomBytes(3 << 20);
  const writing = first.write(bytes.slice()).then(() => first.flush());
  await writing;
  const pending = failureOf(first.write(randomBytes(1 << 20)).then(() => first.digest("sha256")));
  const broken = begin(thread, "no such hash" as Algorithm);
  expect(await failureOf(broken.write(randomBytes(10)).then(() => broken.flush()))).toBeInstanceOf(
    BlobStoreUnavailable,
  );
  // Whatever came through before, the thread's end is told to whoever asks it something now.
  await pending;
  const lost = await failureOf(first.write(randomBytes(10)).then(() => first.flush()));
  expect(lost).toBeInstanceOf(BlobStoreUnavailable);
  expect(String(lost)).toContain("the hash thread ended");
  expect(first.written).toBeGreaterThanOrEqual(3 << 20);

  const next = begin(thread, "sha256");
  await next.write(bytes.slice());
  await next.flush();
  expect(next.written).toBe(3 << 20);
  expect(await next.digest("sha256")).toBe(digestOf(bytes));
  next.end();
  await thread.close();
});

test("a thread that is closed has ended its writes", async () => {
  const thread = new HashThread();
  const path = join(root, "closing");
  const fd = fs.openSync(path, "w+");
  const stream = thread.begin({ fd, size: 0, algorithm: "sha256", key: "" });
  const bytes = randomBytes(16 << 20);
  const failures: Promise<unknown>[] = [];
  for (let at = 0; at < 16; at++) {
    failures.push(
      stream.write(bytes.slice(at << 20, (at + 1) << 20)).catch((error: unknown) => error),
    );
  }
  const flushed = failureOf(stream.flush());
  await Bun.sleep(2);
  await thread.close();
  // On a busy machine everything may have been written by then.
  const outcome = await flushed;
  if (outcome !== undefined) expect(outcome).toBeInstanceOf(BlobStoreUnavailable);
  await Promise.all(failures);
  const { size } = fs.fstatSync(fd);
  expect(size).toBe(stream.written);
  expect(Buffer.compare(fs.readFileSync(path), bytes.subarray(0, size))).toBe(0);
  await Bun.sleep(50);
  expect(fs.fstatSync(fd).size).toBe(size);
  fs.closeSync(fd);
});
