/**
 * The packs of a registry that was alone: once a cluster has its small blobs as files they are in nobody's way, and a
 * backup of before names them still.
 */
import { existsSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { syncDirectory } from "../base/fsync.ts";
import type { Logger } from "../base/log.ts";
import { PACKS, packPlace } from "../blobs/file/locator.ts";
import type { MetaStore } from "../meta/port.ts";
import { type IsPacked, namesPacked } from "../registry/unpack.ts";

const KEPT = `${PACKS}.before-cluster`;

export const isPacked: IsPacked = (locator) => packPlace(locator) !== undefined;

/** Puts them aside, unless a record of the cluster names one of them. Throws `StoreUnavailable`. */
export async function keepPacks(data: string, meta: MetaStore, log: Logger): Promise<void> {
  if (!hasAny(join(data, PACKS)) || (await namesPacked(meta, isPacked))) return;
  const plain = join(data, KEPT);
  const kept = existsSync(plain) ? `${plain}-${Date.now()}` : plain;
  renameSync(join(data, PACKS), kept);
  await syncDirectory(data);
  log.info("the packs of the registry as it was alone are kept", { kept });
}

/** Makes those that were put aside readable, where there are no others. */
export async function takeKeptPacks(data: string): Promise<void> {
  if (!hasAny(join(data, KEPT)) || hasAny(join(data, PACKS))) return;
  renameSync(join(data, KEPT), join(data, PACKS));
  await syncDirectory(data);
}

function hasAny(directory: string): boolean {
  return existsSync(directory) && readdirSync(directory).length > 0;
}
