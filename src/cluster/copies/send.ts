/** Sending a whole blob to a node that has none of it. */
import type { BlobBody, Locator } from "../../blobs/port.ts";
import type { NodeState } from "../node.ts";
import type { Others } from "./others.ts";
import type { Chunk } from "./shadow.ts";

/** A small blob has so many milliseconds, and one more for each so many bytes. */
const SEND_MS = 10_000;
const BYTES_A_MS = 500;
/** One that streams may stand still for so long, and its end be worked on for so long. */
const STALL_MS = 30_000;
/** Until the head of an answer to a question is there; a node that is taken for dead has less. */
const HEAD_MS = 3000;
const KNOCK_MS = 700;

export function blobPath(locator: Locator): string {
  return `/v1/blobs/${locator}`;
}

/** Milliseconds in which a node has to begin its answer to a question. */
export function headMs({ isLive }: NodeState): number {
  return isLive ? HEAD_MS : KNOCK_MS;
}

/** Sends a small blob; resolves when the node has it durably. Throws why not. */
export async function sendBytes(
  others: Others,
  node: NodeState,
  locator: Locator,
  bytes: Chunk,
  signal: AbortSignal,
): Promise<void> {
  await knock(others, node, locator, signal);
  const timeoutMs = SEND_MS + Math.ceil(bytes.byteLength / BYTES_A_MS);
  await others.order(node, blobPath(locator), { method: "PUT", body: bytes, timeoutMs, signal });
}

/** The same for a blob of any size, whose body `open` gives. */
export async function sendBody(
  others: Others,
  node: NodeState,
  locator: Locator,
  open: () => Promise<BlobBody | undefined>,
  signal: AbortSignal,
): Promise<void> {
  await knock(others, node, locator, signal);
  const body = await open();
  if (body === undefined) throw new Error("the blob has gone here meanwhile");
  const request = { method: "PUT", body, timeoutMs: STALL_MS, signal } as const;
  await others.order(node, blobPath(locator), request);
}

/** A node that is taken for dead is not sent a whole blob to find out. */
async function knock(
  others: Others,
  node: NodeState,
  locator: Locator,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  if (node.isLive) return;
  const request = { method: "HEAD", timeoutMs: headMs(node), signal } as const;
  const answer = await others.fetch(node, blobPath(locator), request);
  await answer.body?.cancel();
}
