/** Repositories come into being with the first content linked into them. */
import { randomHex } from "../base/clock.ts";
import { keys } from "../meta/keys.ts";
import type { Commit, Entry } from "../meta/port.ts";
import { decode, encode, type RepositoryRecord } from "./records.ts";
import { OciError } from "../oci/errors.ts";
import type { RepositoryName } from "../oci/name.ts";
import { expectation, type Context } from "./context.ts";

export function nameUnknown(name: RepositoryName): OciError {
  return new OciError("NAME_UNKNOWN", undefined, { detail: { name } });
}

/**
 * The repository's incarnation, and what a commit that relies on it has to expect and, where the repository
 * does not exist yet, to put.
 */
export function joinRepository(
  ctx: Context,
  name: RepositoryName,
  entry: Entry | undefined,
): { readonly incarnation: string } & Required<Pick<Commit, "expect" | "put">> {
  const key = keys.repository(name);
  const expect = [expectation(key, entry)];
  const existing = decode<RepositoryRecord>(entry);
  if (existing) return { incarnation: existing.value.incarnation, expect, put: [] };
  const record: RepositoryRecord = { incarnation: randomHex(8), at: ctx.clock.now() };
  return { incarnation: record.incarnation, expect, put: [{ key, value: encode(record) }] };
}

/** Whether a record of the repository counts: it does not when it stems from before the repository was deleted. */
export function isLive(
  record: { readonly incarnation: string } | undefined,
  repository: Entry | undefined,
): boolean {
  const incarnation = decode<RepositoryRecord>(repository)?.value.incarnation;
  return incarnation !== undefined && record?.incarnation === incarnation;
}
