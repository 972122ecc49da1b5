/**
 * Upload sessions cost nothing until they hold bytes: the id itself proves that this installation opened the
 * session, for which repository and subject, when, and which hash to run. Only bytes (and a cancel) make a record.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Algorithm } from "../oci/digest.ts";
import type { RepositoryName } from "../oci/name.ts";

/** 1 byte algorithm, 6 bytes milliseconds since the epoch, 9 random bytes; then the seal. */
const BODY_BYTES = 16;
const SEAL_BYTES = 16;
const ID = /^[A-Za-z0-9_-]{43}$/;
const ALGORITHM_CODES: readonly Algorithm[] = ["sha256", "sha512"];

export interface SessionId {
  readonly algorithm: Algorithm;
  /** Milliseconds since the epoch. */
  readonly openedAt: number;
}

export function mintSessionId(
  secret: Uint8Array<ArrayBuffer>,
  owner: { readonly repository: RepositoryName; readonly subject: string },
  { algorithm, openedAt }: SessionId,
): string {
  const bytes = Buffer.alloc(BODY_BYTES + SEAL_BYTES);
  crypto.getRandomValues(bytes.subarray(7, BODY_BYTES));
  bytes.writeUInt8(ALGORITHM_CODES.indexOf(algorithm), 0);
  bytes.writeUIntBE(openedAt, 1, 6);
  seal(secret, owner, bytes.subarray(0, BODY_BYTES)).copy(bytes, BODY_BYTES);
  return bytes.toString("base64url");
}

/** What the id says, or `undefined` when it is not one of ours for this repository and subject. */
export function readSessionId(
  secret: Uint8Array<ArrayBuffer>,
  owner: { readonly repository: RepositoryName; readonly subject: string },
  id: string,
): SessionId | undefined {
  if (!ID.test(id)) return undefined;
  const bytes = Buffer.from(id, "base64url");
  const body = bytes.subarray(0, BODY_BYTES);
  if (bytes.length !== BODY_BYTES + SEAL_BYTES || bytes.toString("base64url") !== id) {
    return undefined;
  }
  if (!timingSafeEqual(bytes.subarray(BODY_BYTES), seal(secret, owner, body))) return undefined;
  const algorithm = ALGORITHM_CODES[body.readUInt8(0)];
  return algorithm && { algorithm, openedAt: body.readUIntBE(1, 6) };
}

function seal(
  secret: Uint8Array<ArrayBuffer>,
  owner: { readonly repository: RepositoryName; readonly subject: string },
  body: Uint8Array,
): Buffer {
  const mac = createHmac("sha256", secret);
  mac.update(body).update(owner.repository).update("\0").update(owner.subject);
  return mac.digest().subarray(0, SEAL_BYTES);
}
