/** Whose bytes a blob record shows: those held already, or those that a push brings. */
import { BlobStoreUnavailable, type Locator, type StoredBlob } from "../blobs/port.ts";
import { keys } from "../meta/keys.ts";
import { StoreUnavailable, type Commit, type Entry } from "../meta/port.ts";
import type { Digest } from "../oci/digest.ts";
import { expectation, type Context } from "./context.ts";
import { decode, encode, type BlobRecord, type TrashRecord, type Versioned } from "./records.ts";

/** Milliseconds for which replaced bytes stay for whoever has read the record that named them. */
const READERS_MS = 3_600_000;

/** Whether healthy bytes for this blob are held, whoever brought them: those who have them need not send them. */
export async function holdsBytes(
  { blobs }: Context,
  blob: Versioned<BlobRecord> | undefined,
): Promise<boolean> {
  if (blob === undefined || blob.value.damaged) return false;
  return (await blobs.stat(blob.value.locator)) === blob.value.size;
}

/** The same, as durably as a push promises them: a 201 may rest upon them. */
export async function holdsDurably(
  { blobs }: Context,
  blob: Versioned<BlobRecord> | undefined,
): Promise<boolean> {
  if (blob === undefined || blob.value.damaged) return false;
  const { locator, size } = blob.value;
  return blobs.isDurable?.(locator, size) ?? (await blobs.stat(locator)) === size;
}

/** What a commit has to say about a blob's bytes. */
export interface Settled extends Required<Pick<Commit, "expect" | "put">> {
  /** The record stays as it is. */
  readonly kept: boolean;
  /**
   * Bytes to be removed at once after this commit, which gives them up: of two equal pushes the later one's, or those
   * that were lost or damaged.
   */
  readonly loser: Locator | undefined;
}

/** The bytes that one push brings: stored already, or stored only while none that were checked are held. */
export class IncomingBytes {
  readonly #ctx: Context;
  readonly #digest: Digest;
  readonly #store: () => Promise<StoredBlob>;
  #stored: StoredBlob | undefined;

  constructor(ctx: Context, digest: Digest, bytes: StoredBlob | (() => Promise<StoredBlob>)) {
    this.#ctx = ctx;
    this.#digest = digest;
    if (typeof bytes === "function") {
      this.#store = bytes;
    } else {
      this.#stored = bytes;
      this.#store = async () => bytes;
    }
  }

  /** `entry` is the blob's record as just read. */
  async settle(entry: Entry | undefined): Promise<Settled> {
    const held = decode<BlobRecord>(entry);
    const key = keys.blob(this.#digest);
    const expect = [expectation(key, entry)];
    // Bytes that nobody has checked yet, or of which too few copies are left, give way to bytes that this push has
    // checked and stored.
    if (held?.value.verified === true && (await holdsDurably(this.#ctx, held))) {
      return { kept: true, expect, ...giveUp(this.#stored?.locator) };
    }
    const { locator, size } = (this.#stored ??= await this.#store());
    const record: BlobRecord = { size, locator, verified: true, at: this.#ctx.clock.now() };
    // A sweep that took the new bytes for ownerless says so there first.
    expect.push({ key: keys.trash(locator), version: 0 });
    // Somebody may be reading what is left of right bytes: that goes with a later sweep.
    const isRead = held?.value.verified === true && !held.value.damaged;
    const { loser, put } = giveUp(
      held?.value.foreign ? undefined : held?.value.locator,
      isRead ? { notBefore: this.#ctx.clock.now() + READERS_MS } : {},
    );
    return {
      kept: false,
      expect,
      put: [{ key, value: encode(record) }, ...put],
      loser: isRead ? undefined : loser,
    };
  }

  /** Gives up what was stored for a push that certainly came to nothing. */
  async abandon(): Promise<void> {
    if (this.#stored === undefined) return;
    const { put } = giveUp(this.#stored.locator);
    await this.#ctx.meta.commit({ put });
    await tidy(this.#ctx, this.#stored.locator);
  }
}

function giveUp(
  loser: Locator | undefined,
  record: TrashRecord = {},
): Pick<Settled, "put" | "loser"> {
  const put = loser === undefined ? [] : [{ key: keys.trash(loser), value: encode(record) }];
  return { loser, put };
}

/** Removes bytes that a commit has given up, then the note that it had to be done. */
async function removeTrash(ctx: Context, locator: Locator): Promise<void> {
  await ctx.blobs.delete(locator);
  await ctx.meta.commit({ delete: [keys.trash(locator)] });
}

/** The same after a push that has succeeded whatever comes of this: the sweep will do it otherwise. */
export async function tidy(ctx: Context, locator: Locator | undefined): Promise<void> {
  if (locator !== undefined) await attempt(() => removeTrash(ctx, locator));
}

/** Does what the sweep will do otherwise. */
export async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof StoreUnavailable || error instanceof BlobStoreUnavailable)) throw error;
  }
}
