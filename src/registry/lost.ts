/** Blobs that the records name and no store has. */
import type { StoredBlob } from "../blobs/port.ts";
import { requireFresh } from "../meta/fresh.ts";
import { keys, lastPart } from "../meta/keys.ts";
import { pages } from "../meta/pages.ts";
import type { MetaStore } from "../meta/port.ts";
import { parseDigest } from "../oci/digest.ts";
import { decode, type BlobRecord } from "./records.ts";

export interface Lost {
  /** Blobs with a record. */
  readonly named: number;
  /** Of these, without a copy. */
  readonly lost: number;
  /** The first of those, each with a repository that shows it, where one does. */
  readonly examples: readonly {
    readonly digest: string;
    readonly repository: string | undefined;
  }[];
}

/** The size that somebody has of each blob, where anybody has it. */
export type SizesOf = (blobs: readonly StoredBlob[]) => Promise<readonly (number | undefined)[]>;

const EXAMPLES = 20;

/** Throws `StoreUnavailable`, the signal's reason. */
export async function findLost(
  meta: MetaStore,
  sizesOf: SizesOf,
  signal: AbortSignal,
): Promise<Lost> {
  let [named, lost] = [0, 0];
  const examples: Lost["examples"][number][] = [];
  for await (const { entries } of pages(meta, keys.blobs)) {
    signal.throwIfAborted();
    const blobs = entries.flatMap((entry) => {
      const record = decode<BlobRecord>(entry)?.value;
      return record === undefined ? [] : [{ ...record, digest: lastPart(entry.key) }];
    });
    const sizes = await sizesOf(blobs);
    const gone = blobs.filter(({ size, damaged }, i) => damaged === true || sizes[i] !== size);
    named += blobs.length;
    lost += gone.length;
    for (const { digest } of gone.slice(0, EXAMPLES - examples.length))
      examples.push({ digest, repository: await repositoryOf(meta, digest) });
  }
  return { named, lost, examples };
}

async function repositoryOf(meta: MetaStore, text: string): Promise<string | undefined> {
  const digest = parseDigest(text);
  if (digest === undefined) return undefined;
  for (const prefix of [keys.links(digest), `${keys.allKeeps}${digest}!`]) {
    const { entries } = requireFresh(await meta.scan({ prefix, limit: 1, keysOnly: true }));
    const [first] = entries;
    if (first !== undefined) return lastPart(first.key);
  }
  return undefined;
}
