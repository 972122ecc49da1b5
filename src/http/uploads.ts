/** Upload sessions: distribution-spec §Pushing blobs. */
import { parseAlgorithm, parseDigest, type Algorithm, type Digest } from "../oci/digest.ts";
import { OciError } from "../oci/errors.ts";
import { parseName, type RepositoryName } from "../oci/name.ts";
import { parseChunkRange, uploadRange, type ByteSpan } from "../oci/range.ts";
import type { Call } from "./call.ts";
import { answer, type Headers } from "./respond.ts";

/** POST …/blobs/uploads/: opens a session, mounts a blob, or takes a whole blob in one request. */
export async function postUpload(call: Call, name: RepositoryName): Promise<Response> {
  const { query, registry, caller } = call;
  const mounted = await mount(call, name);
  if (mounted !== undefined) return created(call, name, mounted);

  const text = query.one("digest");
  const digest = text === undefined ? undefined : needDigest(text);
  const id = registry.openUpload(caller, name, algorithmFor(call, digest));
  if (digest === undefined) return answer(202, session(call, name, id, 0));
  await withLocation(call, name, id, async () =>
    registry.finishUpload(caller, name, id, digest, {
      content: call.body,
      span: undefined,
    }),
  );
  return created(call, name, digest);
}

/** PATCH: appends a chunk, at a stated place or at the end. */
export async function patchUpload(call: Call, name: RepositoryName, id: string): Promise<Response> {
  const chunk = { content: call.body, span: spanOf(call) };
  const size = await withLocation(call, name, id, async () =>
    call.registry.appendUpload(call.caller, name, id, chunk),
  );
  return answer(202, session(call, name, id, size));
}

/** PUT: ends the session, the last or only chunk in its body. */
export async function putUpload(call: Call, name: RepositoryName, id: string): Promise<Response> {
  const digest = needDigest(call.query.one("digest"));
  const chunk = { content: call.body, span: spanOf(call) };
  await withLocation(call, name, id, async () =>
    call.registry.finishUpload(call.caller, name, id, digest, chunk),
  );
  return created(call, name, digest);
}

/** GET: how far the upload is. */
export async function getUpload(call: Call, name: RepositoryName, id: string): Promise<Response> {
  const size = await call.registry.uploadStatus(call.caller, name, id);
  return answer(204, session(call, name, id, size));
}

/** DELETE: gives the upload up. */
export async function deleteUpload(
  call: Call,
  name: RepositoryName,
  id: string,
): Promise<Response> {
  await call.registry.cancelUpload(call.caller, name, id);
  return answer(204, {});
}

/** The digest mounted, or `undefined` where an upload has to follow. A mount never fails: the blob can be sent. */
async function mount(call: Call, name: RepositoryName): Promise<Digest | undefined> {
  const digest = parseDigest(call.query.one("mount") ?? "");
  if (digest === undefined) return undefined;
  const source = call.query.one("from");
  const from = source === undefined || source === "" ? undefined : parseName(source);
  if (source !== undefined && source !== "" && from === undefined) return undefined;
  const mounted = await call.registry.mountBlob(call.caller, name, digest, from);
  return mounted ? digest : undefined;
}

function algorithmFor(call: Call, digest: Digest | undefined): Algorithm {
  const text = call.query.one("digest-algorithm") ?? digest?.split(":", 1)[0] ?? "sha256";
  const algorithm = parseAlgorithm(text);
  if (algorithm !== undefined) return algorithm;
  throw new OciError("DIGEST_INVALID", "digest-algorithm must be sha256 or sha512", {
    detail: { "digest-algorithm": text.slice(0, 64) },
  });
}

function needDigest(text: string | undefined): Digest {
  const digest = parseDigest(text ?? "");
  if (digest !== undefined) return digest;
  throw new OciError(
    "DIGEST_INVALID",
    "the parameter digest must be sha256:<64 lower-case hex digits> or sha512:<128>",
    {
      detail: { digest: text?.slice(0, 256) ?? null },
    },
  );
}

function spanOf(call: Call): ByteSpan | undefined {
  const header = call.request.headers.get("content-range");
  if (header === null) return undefined;
  const span = parseChunkRange(header);
  if (span !== undefined) return span;
  throw new OciError("BLOB_UPLOAD_INVALID", "Content-Range must be <start>-<end>, both inclusive", {
    status: 400,
    detail: { "Content-Range": header.slice(0, 128) },
  });
}

function session(call: Call, name: RepositoryName, id: string, size: number): Headers {
  return {
    Location: call.link(`/v2/${name}/blobs/uploads/${id}`),
    Range: uploadRange(size),
    "Docker-Upload-UUID": id,
  };
}

function created(call: Call, name: RepositoryName, digest: Digest): Response {
  return answer(201, {
    Location: call.link(`/v2/${name}/blobs/${digest}`),
    "Docker-Content-Digest": digest,
  });
}

/** Clients go on after a refused chunk from the `Location` and `Range` of the refusal. */
async function withLocation<T>(
  call: Call,
  name: RepositoryName,
  id: string,
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof OciError) || error.status !== 416) throw error;
    throw new OciError(error.code, error.message, {
      status: error.status,
      detail: error.detail,
      headers: { ...error.headers, Location: call.link(`/v2/${name}/blobs/uploads/${id}`) },
    });
  }
}
