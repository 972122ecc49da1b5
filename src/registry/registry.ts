/** The registry: every use case, bound to its stores. */
import { systemClock, type Clock } from "../base/clock.ts";
import { Lru } from "../base/lru.ts";
import type { ForeignLayout, RemovableLayout } from "../blobs/foreign.ts";
import type { BlobStore } from "../blobs/port.ts";
import type { MetaStore } from "../meta/port.ts";
import type { Algorithm, Digest } from "../oci/digest.ts";
import type { RepositoryName } from "../oci/name.ts";
import type { Reference } from "../oci/route.ts";
import { Adopter, adoptionStatus } from "./adopt.ts";
import { countForeign, finishAdoption, type FinishOptions } from "./adopt-finish.ts";
import type { Caller, Context, RegistryOptions } from "./context.ts";
import { deleteBlob, deleteManifest } from "./delete.ts";
import { findDrift, type DriftOptions } from "./drift.ts";
import { countBlobs } from "./stats.ts";
import { mountBlob } from "./link.ts";
import { listRepositories, listTags, type PageRequest } from "./list.ts";
import { pullBlob, pullManifest, type Purpose } from "./pull.ts";
import { purgeOwnerless } from "./ownerless.ts";
import { purgeUploads, sweepTrash } from "./purge.ts";
import { pushManifest, type ManifestPush } from "./push.ts";
import { listReferrers, type ReferrersRequest } from "./referrers.ts";
import { readUploadSecret } from "./schema.ts";
import { purgeUnknown } from "./unknown.ts";
import {
  appendUpload,
  cancelUpload,
  finishUpload,
  openUpload,
  uploadStatus,
  type Chunk,
} from "./upload.ts";

/** Bytes of manifests and small blobs that one process keeps in memory. */
const CACHE_BYTES = 8 * 1024 * 1024;

/** Foreign blobs that one process remembers to have checked. */
const VERIFIED_MAX = 1000;

export interface RegistryDeps {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  readonly options: RegistryOptions;
  readonly clock?: Clock;
  /** What another registry has left in this place, to be taken over. */
  readonly foreign?: ForeignLayout | undefined;
  alarm(message: string, fields: Record<string, unknown>): void;
}

export type Registry = Awaited<ReturnType<typeof createRegistry>>;

/** The store must have been through `prepareSchema`. */
export async function createRegistry(deps: RegistryDeps) {
  const ctx: Context = {
    ...deps,
    clock: deps.clock ?? systemClock,
    uploadSecret: await readUploadSecret(deps.meta),
    cache: new Lru(CACHE_BYTES),
    verified: new Lru(VERIFIED_MAX),
    alarm: (message, fields) => deps.alarm(message, fields),
  };
  const adopter = deps.foreign && new Adopter(ctx, deps.foreign);
  await adopter?.begin();
  return {
    pullManifest: async (name: RepositoryName, reference: Reference, purpose: Purpose) => {
      await adopter?.ensure(name);
      return pullManifest(ctx, name, reference, purpose);
    },
    pullBlob: async (name: RepositoryName, digest: Digest, purpose: Purpose) => {
      await adopter?.ensure(name);
      return pullBlob(ctx, name, digest, purpose);
    },
    pushManifest: async (caller: Caller, push: ManifestPush) => {
      await adopter?.ensure(push.name);
      return pushManifest(ctx, caller, push);
    },
    openUpload: (caller: Caller, name: RepositoryName, algorithm: Algorithm) =>
      openUpload(ctx, caller, name, algorithm),
    uploadStatus: async (caller: Caller, name: RepositoryName, id: string) =>
      uploadStatus(ctx, caller, name, id),
    appendUpload: async (caller: Caller, name: RepositoryName, id: string, chunk: Chunk) =>
      appendUpload(ctx, caller, name, id, chunk),
    finishUpload: async (
      caller: Caller,
      name: RepositoryName,
      id: string,
      digest: Digest,
      chunk: Chunk,
    ) => {
      await adopter?.ensure(name);
      return finishUpload(ctx, caller, name, id, digest, chunk);
    },
    cancelUpload: async (caller: Caller, name: RepositoryName, id: string) =>
      cancelUpload(ctx, caller, name, id),
    mountBlob: async (
      caller: Caller,
      name: RepositoryName,
      digest: Digest,
      from: RepositoryName | undefined,
    ) => {
      await adopter?.ensure(name);
      if (from !== undefined) await adopter?.ensure(from);
      return mountBlob(ctx, caller, name, digest, from);
    },
    deleteManifest: async (caller: Caller, name: RepositoryName, reference: Reference) => {
      await adopter?.ensure(name);
      return deleteManifest(ctx, caller, name, reference);
    },
    deleteBlob: async (name: RepositoryName, digest: Digest) => {
      await adopter?.ensure(name);
      return deleteBlob(ctx, name, digest);
    },
    listTags: async function* (name: RepositoryName, request: PageRequest) {
      await adopter?.ensure(name);
      yield* listTags(ctx, name, request);
    },
    listRepositories: (request: PageRequest) => listRepositories(ctx, request),
    /** Whether all repositories of another registry are among ours; not as long as they are being counted. */
    isListed: async () => (await adopter?.isListed()) ?? true,
    listReferrers: async (name: RepositoryName, subject: Digest, request: ReferrersRequest) => {
      await adopter?.ensure(name);
      return listReferrers(ctx, name, subject, request);
    },
    purgeUploads: async (signal: AbortSignal) => purgeUploads(ctx, signal),
    purgeOwnerless: async (signal: AbortSignal) => purgeOwnerless(ctx, signal),
    purgeUnknown: async (metadata: string, signal: AbortSignal) =>
      purgeUnknown(ctx, metadata, signal),
    sweepTrash: async (signal: AbortSignal) => sweepTrash(ctx, signal),
    /** Where metadata and stored bytes disagree. */
    findDrift: (options: DriftOptions) => findDrift(ctx, options),
    /** Bytes and number of stored blobs, counted afresh. */
    stats: async (signal: AbortSignal) => countBlobs(ctx, signal),
    /** Takes over what another registry left; `undefined` where there is nothing of that kind. */
    adopter,
    adoptionStatus: async () => adoptionStatus(ctx),
    countForeign: async () => countForeign(ctx),
    finishAdoption: (layout: RemovableLayout, options: FinishOptions) =>
      finishAdoption(ctx, layout, options),
  } as const;
}
