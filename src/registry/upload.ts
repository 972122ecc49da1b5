/** Receiving blobs: distribution-spec §Pushing blobs. */
import {
  BlobStoreFull,
  DigestMismatch,
  UploadBusy,
  type BlobUpload,
  type StoredBlob,
} from "../blobs/port.ts";
import { keys } from "../meta/keys.ts";
import type { Entry } from "../meta/port.ts";
import { decode, encode, type UploadRecord, type Versioned } from "./records.ts";
import { digestOf } from "../blobs/content.ts";
import { algorithmOf, type Algorithm, type Digest } from "../oci/digest.ts";
import { OciError } from "../oci/errors.ts";
import type { RepositoryName } from "../oci/name.ts";
import { uploadRange, type ByteSpan } from "../oci/range.ts";
import { commitPlan, expectation, readToPush, type Caller, type Context } from "./context.ts";
import { hasBlob, linkBlob, linkKeys } from "./link.ts";
import { mintSessionId, readSessionId } from "./session.ts";

/** Blobs up to this size are gathered in memory and written at once, in bytes. */
const SMALL_MAX = 64 * 1024;

/** A request's body. */
export interface Content {
  /** Bytes, where the client said so. */
  readonly length: number | undefined;
  stream(): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** All of it at once: for content whose announced length is small. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
}

/** A chunk as its request describes it. */
export interface Chunk {
  readonly content: Content;
  /** The place the client means it for; without, it goes to the end. */
  readonly span: ByteSpan | undefined;
}

/** The session's bytes are on another node, which has to be asked; nothing of the request has been read. */
export class UploadElsewhere extends Error {
  override readonly name = "UploadElsewhere";
  readonly home: string;
  constructor(home: string) {
    super(`the upload is held by node ${home}`);
    this.home = home;
  }
}

interface Session {
  readonly id: string;
  readonly name: RepositoryName;
  readonly caller: Caller;
  readonly algorithm: Algorithm;
  readonly record: Versioned<UploadRecord> | undefined;
}

/** Opens a session: no I/O at all. */
export function openUpload(
  ctx: Context,
  caller: Caller,
  name: RepositoryName,
  algorithm: Algorithm,
): string {
  const owner = { repository: name, subject: caller.subject };
  return mintSessionId(ctx.uploadSecret, owner, { algorithm, openedAt: ctx.clock.now() });
}

/** Bytes held so far. Throws BLOB_UPLOAD_UNKNOWN. */
export async function uploadStatus(
  ctx: Context,
  caller: Caller,
  name: RepositoryName,
  id: string,
): Promise<number> {
  await findSession(ctx, caller, name, id);
  return (await ctx.blobs.uploadSize(id)) ?? 0;
}

/** Appends a chunk; resolves to the bytes held. What arrived before a client went away is kept. */
export async function appendUpload(
  ctx: Context,
  caller: Caller,
  name: RepositoryName,
  id: string,
  chunk: Chunk,
): Promise<number> {
  const { session, upload } = await hold(ctx, await findSession(ctx, caller, name, id));
  try {
    await receive(ctx, upload, chunk);
  } catch (error) {
    await letGo(ctx, session, upload, error);
    throw error;
  }
  return suspend(ctx, session, upload);
}

/**
 * Ends a session with the digest of the whole blob, the last chunk included where there is one.
 * Throws DIGEST_INVALID and keeps nothing when the content has another digest; the session is then empty.
 */
export async function finishUpload(
  ctx: Context,
  caller: Caller,
  name: RepositoryName,
  id: string,
  digest: Digest,
  chunk: Chunk,
): Promise<void> {
  // Without content it ends what earlier requests sent, whether or not they have noted it by now.
  const { length = Infinity } = chunk.content;
  const isSmall = length > 0 && length <= SMALL_MAX;
  // Read with the session: what has changed when the body is there makes a conflict.
  const further = isSmall ? linkKeys(name, digest) : [];
  const { seen, ...found } = await findSession(ctx, caller, name, id, further);
  if (isSmall && found.record === undefined && (await ctx.blobs.uploadSize(id)) === undefined) {
    return finishSmall(ctx, found, digest, chunk, seen);
  }
  const { session, upload } = await hold(ctx, found);
  try {
    await receive(ctx, upload, chunk);
  } catch (error) {
    await letGo(ctx, session, upload, error);
    throw error;
  }
  const known = session.record?.value.progress;
  if (upload.size < (known?.size ?? 0)) return finishAgain(ctx, session, upload, digest);
  const isEmpty = upload.size === 0;
  let stored: StoredBlob;
  try {
    stored = await upload.commit(digest, known);
  } catch (error) {
    if (!(error instanceof DigestMismatch)) throw error;
    await forget(ctx, session);
    // A client that lost the answer to its last request sends it again, to a session that has ended well.
    if (isEmpty && (await hasBlob(ctx, name, digest))) return;
    throw digestInvalid(digest, error.actual);
  }
  await linkBlob(ctx, name, digest, stored, { session: session.record && id });
}

/**
 * The session's bytes went into a blob, but the answer, or the link, did not make it. Without the link they
 * have to be sent again, and a session that is unknown tells clients to.
 */
async function finishAgain(
  ctx: Context,
  session: Session,
  upload: BlobUpload,
  digest: Digest,
): Promise<void> {
  await upload.abort();
  await forget(ctx, session);
  if (!(await hasBlob(ctx, session.name, digest))) throw uploadUnknown(session.id);
}

/** Ends a session and forgets its bytes. Throws BLOB_UPLOAD_UNKNOWN. */
export async function cancelUpload(
  ctx: Context,
  caller: Caller,
  name: RepositoryName,
  id: string,
): Promise<void> {
  const session = await findSession(ctx, caller, name, id);
  const value = encode({ ...blankRecord(ctx, session), cancelled: true });
  await ctx.meta.commit({ put: [{ key: keys.upload(id), value }] });
  try {
    await ctx.blobs.discard(id);
  } catch (error) {
    // The request that is writing will find the session cancelled and remove the bytes itself.
    if (!(error instanceof UploadBusy)) throw error;
  }
}

async function findSession(
  ctx: Context,
  caller: Caller,
  name: RepositoryName,
  id: string,
  /** Keys to read beside it. */
  further: readonly string[] = [],
): Promise<Session & { readonly seen: readonly (Entry | undefined)[] }> {
  const owner = { repository: name, subject: caller.subject };
  const said = readSessionId(ctx.uploadSecret, owner, id);
  if (said === undefined) throw uploadUnknown(id);
  const [entry, ...seen] = await readToPush(ctx, [keys.upload(id), ...further]);
  const record = decode<UploadRecord>(entry);
  const active = record?.value.at ?? said.openedAt;
  if (record?.value.cancelled || active + ctx.options.uploadExpiry < ctx.clock.now()) {
    throw uploadUnknown(id);
  }
  requireHere(ctx, record);
  return { id, name, caller, algorithm: said.algorithm, record, seen };
}

async function hold(
  ctx: Context,
  session: Session,
): Promise<{ readonly session: Session; readonly upload: BlobUpload }> {
  let upload: BlobUpload;
  try {
    upload = await ctx.blobs.upload(session.id, session.algorithm);
  } catch (error) {
    if (!(error instanceof UploadBusy)) throw error;
    const size = (await ctx.blobs.uploadSize(session.id)) ?? 0;
    throw outOfOrder("another request is writing to this upload", size);
  }
  // Read again now that nobody else can move it: the holder before may have ended since.
  try {
    const record = await readRecord(ctx, session.id);
    requireHere(ctx, record);
    if (!record?.value.cancelled) return { session: { ...session, record }, upload };
  } catch (error) {
    await upload.suspend();
    throw error;
  }
  await upload.abort();
  throw uploadUnknown(session.id);
}

async function readRecord(ctx: Context, id: string): Promise<Versioned<UploadRecord> | undefined> {
  const [entry] = await readToPush(ctx, [keys.upload(id)]);
  return decode<UploadRecord>(entry);
}

/**
 * After a refused or broken chunk: what arrived stays, as after a PATCH, so that the client may go on. Without
 * room for more, what was never answered for is given back.
 */
async function letGo(
  ctx: Context,
  session: Session,
  upload: BlobUpload,
  cause: unknown,
): Promise<void> {
  const giveBack = cause instanceof BlobStoreFull && session.record === undefined;
  if (upload.size === 0 || giveBack) await upload.abort();
  else await suspend(ctx, session, upload);
}

/** Takes in a chunk's bytes, having checked that it belongs where the upload ends. */
async function receive(ctx: Context, upload: BlobUpload, { content, span }: Chunk): Promise<void> {
  const start = upload.size;
  const announced = checkSpan(start, content, span);
  checkBlobSize(ctx, start + (announced ?? 0));
  for await (const bytes of content.stream()) {
    const size = upload.size + bytes.length;
    checkBlobSize(ctx, size);
    // A body that outgrows its Content-Range holds bytes that belong elsewhere.
    if (announced !== undefined && size - start > announced) checkLength(announced, size - start);
    await upload.write(bytes);
  }
  checkLength(announced, upload.size - start);
}

/** The number of bytes the chunk should have, if it says so. */
function checkSpan(size: number, content: Content, span: ByteSpan | undefined): number | undefined {
  if (span === undefined) return content.length;
  if (span.start !== size) {
    throw outOfOrder(`the chunk starts at ${span.start}, the upload ends at ${size}`, size);
  }
  const length = span.end - span.start + 1;
  checkLength(content.length, length);
  return length;
}

function checkLength(announced: number | undefined, actual: number): void {
  if (announced === undefined || announced === actual) return;
  throw new OciError("SIZE_INVALID", `expected ${announced} bytes, got ${actual}`);
}

function checkBlobSize(ctx: Context, size: number): void {
  const { blobBytes } = ctx.options.limits;
  if (blobBytes > 0 && size > blobBytes) {
    throw new OciError(
      "SIZE_INVALID",
      `blobs are limited to ${blobBytes} bytes (limits.blobBytes)`,
      {
        status: 413,
      },
    );
  }
}

/** A whole blob in one small request: its digest is checked before anything is written. */
async function finishSmall(
  ctx: Context,
  session: Session,
  digest: Digest,
  { content, span }: Chunk,
  seen: readonly (Entry | undefined)[],
): Promise<void> {
  const announced = checkSpan(0, content, span);
  checkBlobSize(ctx, announced ?? 0);
  const bytes = await content.bytes();
  checkLength(announced, bytes.length);

  const { name } = session;
  const actual = digestOf(bytes, algorithmOf(digest));
  if (actual !== digest) throw digestInvalid(digest, actual);
  await linkBlob(ctx, name, digest, async () => ctx.blobs.put(digest, bytes), { seen });
}

/** Leaves the session to its next request, noted while nobody else can write. Throws BLOB_UPLOAD_UNKNOWN when it was cancelled. */
async function suspend(ctx: Context, session: Session, upload: BlobUpload): Promise<number> {
  let cancelled = false;
  const { size } = await upload.suspend(async (progress) => {
    const key = keys.upload(session.id);
    cancelled = await commitPlan(ctx.meta, async () => {
      const record = await readRecord(ctx, session.id);
      if (record?.value.cancelled || isElsewhere(ctx, record)) return { result: true };
      const value = encode({ ...blankRecord(ctx, session), progress });
      return {
        commit: { expect: [expectation(key, record)], put: [{ key, value }] },
        result: false,
      };
    });
  });
  if (!cancelled) return size;
  await ctx.blobs.discard(session.id);
  throw uploadUnknown(session.id);
}

/** Removes the record of a session whose bytes are gone, unless it has begun anew. */
async function forget(ctx: Context, { id, record }: Session): Promise<void> {
  if (record === undefined) return;
  const key = keys.upload(id);
  await ctx.meta.commit({ expect: [expectation(key, record)], delete: [key] });
}

function blankRecord(ctx: Context, { name, caller, algorithm }: Session): UploadRecord {
  const { home } = ctx.blobs;
  return {
    repository: name,
    subject: caller.subject,
    algorithm,
    ...(home === undefined ? {} : { home }),
    at: ctx.clock.now(),
  };
}

function isElsewhere(ctx: Context, record: Versioned<UploadRecord> | undefined): boolean {
  const home = record?.value.home;
  return home !== undefined && home !== ctx.blobs.home;
}

function requireHere(ctx: Context, record: Versioned<UploadRecord> | undefined): void {
  if (isElsewhere(ctx, record)) throw new UploadElsewhere(record?.value.home ?? "");
}

function digestInvalid(expected: Digest, actual: Digest): OciError {
  return new OciError("DIGEST_INVALID", `the content has digest ${actual}, not ${expected}`, {
    detail: { expected, actual },
  });
}

function uploadUnknown(id: string): OciError {
  return new OciError("BLOB_UPLOAD_UNKNOWN", undefined, { detail: { upload: id.slice(0, 128) } });
}

function outOfOrder(problem: string, size: number): OciError {
  return new OciError("BLOB_UPLOAD_INVALID", `${problem}; continue at byte ${size}`, {
    headers: { Range: uploadRange(size) },
    detail: { size },
  });
}
