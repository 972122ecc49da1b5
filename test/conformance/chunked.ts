import { expectStatus, location, withDigest } from "./expect.ts";
import { headerLines } from "./message.ts";
import { closeUpload, minimumChunk, openUpload, sendChunk, type Push } from "./uploads.ts";

/** The least chunk size that the suite uses by itself, in bytes. */
export const CHUNK = 1024;

/** The size of a blob that spans three chunks of at least `minimum` bytes, the last one shorter. */
export function threeChunks(minimum: number): number {
  return Math.max(minimum, CHUNK) * 3 - 5;
}

/**
 * POST, then chunks with Content-Range, then the closing PUT (end-5, end-6).
 * `putLast`: the PUT carries the last chunk. `disorder`: before every good chunk a bad one is sent, which
 * has to be refused by 416 while the session lives on.
 * @returns the registry's minimum chunk length
 */
export async function patchChunked(
  push: Push,
  { putLast = false, disorder = false } = {},
): Promise<number> {
  const size = push.bytes.length;
  const opened = await openUpload(push);
  const minimum = minimumChunk(opened.reply);
  const step = Math.min(size, Math.max(Math.floor(size / 3) + 1, minimum, CHUNK));
  let session = opened.url;
  for (let from = 0; from < size; from += step) {
    const to = Math.min(from + step, size) - 1;
    if (disorder) {
      session = await sendMisplaced(push, session, { from, step, putLast });
    }
    if (putLast && to === size - 1) {
      const range = `${from}-${to}`;
      await closeUpload(push, session, push.bytes.subarray(from), "required", range);
      return minimum;
    }
    const reply = await sendChunk(push, session, "PATCH", from, to);
    expectStatus(reply, 202);
    session = location(reply, session);
  }
  await closeUpload(push, session);
  return minimum;
}

/** Skips ahead, or goes back to the start near the end; recovers by asking for the session's state. */
async function sendMisplaced(
  push: Push,
  session: URL,
  { from, step, putLast }: { from: number; step: number; putLast: boolean },
): Promise<URL> {
  const size = push.bytes.length;
  const ahead = from + step;
  const badFrom = ahead < size ? ahead : 0;
  const badTo = Math.min(badFrom + step, size) - 1;
  const byPut = putLast && badTo === size - 1;
  // The state is asked at the very URL the bad chunk went to, with the PUT's `digest=` in it.
  const url = byPut ? withDigest(session, push.digest) : session;
  expectStatus(await sendChunk(push, url, byPut ? "PUT" : "PATCH", badFrom, badTo), 416);
  const state = await push.client.send({ method: "GET", url });
  expectStatus(state, 204);
  const [range = ""] = headerLines(state, "Range");
  const held = /^0-(\d+)$/.exec(range)?.[1];
  if (held === undefined || (from > 0 && Number(held) !== from - 1)) {
    throw new Error(`${state.request}: Range is "${range}" with ${from} bytes held`);
  }
  return location(state, url);
}
