/** Foreign bytes, taken over unread, are hashed on their first way out: nothing unverified is served whole. */
import type { BlobBody, StoredBlob } from "../blobs/port.ts";
import { keys } from "../meta/keys.ts";
import { StoreUnavailable } from "../meta/port.ts";
import { encode, type BlobRecord, type Versioned } from "./records.ts";
import { algorithmOf, encodedOf, type Digest } from "../oci/digest.ts";
import { expectation, type Context } from "./context.ts";

/**
 * Reads the blob once and says whether it is what its digest names; remembers that it is. Requests that need to
 * know it at the same time wait for one reading, and the parts of one request do not read again.
 */
export async function verifyWhole(
  ctx: Context,
  digest: Digest,
  blob: Versioned<BlobRecord>,
): Promise<boolean> {
  const { locator } = blob.value;
  const known = ctx.verified.get(locator);
  if (known !== undefined) return known;
  const answer = verify(ctx, digest, blob);
  ctx.verified.set(locator, answer, 1);
  const right = await answer.catch(() => false);
  if (!right) ctx.verified.delete(locator);
  return answer;
}

async function verify(ctx: Context, digest: Digest, blob: Versioned<BlobRecord>): Promise<boolean> {
  const right = await isContent(ctx, digest, blob.value);
  if (right !== undefined) await remember(ctx, digest, blob, right);
  return right === true;
}

/** Reads stored bytes once and says whether they are what the digest names; `undefined` when they are gone. */
export async function isContent(
  ctx: Context,
  digest: Digest,
  { locator, size }: StoredBlob,
): Promise<boolean | undefined> {
  const body = await ctx.blobs.open(locator, size);
  if (body === undefined) return undefined;
  const hash = new Bun.CryptoHasher(algorithmOf(digest));
  for await (const chunk of streamOf(body)) hash.update(chunk);
  return hash.digest("hex") === encodedOf(digest);
}

/** A stream of the body that fails before its end when the bytes turn out wrong, so that no client takes them for whole. */
export function verifiedBody(
  ctx: Context,
  digest: Digest,
  blob: Versioned<BlobRecord>,
  body: BlobBody,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const hash = new Bun.CryptoHasher(algorithmOf(digest));
  const reader = streamOf(body).getReader();
  let held: Uint8Array<ArrayBuffer> | undefined;
  return new ReadableStream(
    {
      // One chunk is held back: the last goes out only after the digest is known to be right.
      async pull(controller) {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          hash.update(value);
          const ready = held;
          held = value;
          if (ready === undefined) continue;
          controller.enqueue(ready);
          return;
        }
        if (hash.digest("hex") !== encodedOf(digest)) {
          ctx.alarm(
            "stored bytes are not the content their digest names; the answer was cut short",
            {
              digest,
              locator: blob.value.locator,
            },
          );
          await remember(ctx, digest, blob, false);
          controller.error(new Error(`content is not ${digest}`));
          return;
        }
        await remember(ctx, digest, blob, true);
        if (held !== undefined) controller.enqueue(held);
        controller.close();
      },
      cancel: async (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

function streamOf(body: BlobBody): ReadableStream<Uint8Array<ArrayBuffer>> {
  return body instanceof ReadableStream ? body : body.stream();
}

async function remember(
  ctx: Context,
  digest: Digest,
  blob: Versioned<BlobRecord>,
  right: boolean,
): Promise<void> {
  const key = keys.blob(digest);
  // What is noted as damaged is not shown to a client that asks what it need not push.
  const record: BlobRecord = { ...blob.value, ...(right ? { verified: true } : { damaged: true }) };
  try {
    // A conflict means that somebody else changed the record: it is then theirs to say.
    await ctx.meta.commit({
      expect: [expectation(key, blob)],
      put: [{ key, value: encode(record) }],
    });
  } catch (error) {
    // A pull does not fail for want of a note; the next one hashes again.
    if (!(error instanceof StoreUnavailable)) throw error;
  }
}
