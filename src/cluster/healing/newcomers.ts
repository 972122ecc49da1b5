/** Blobs that were pushed a moment ago: their copies may be on the way, so they are looked at a little later. */
import type { Change } from "../../meta/port.ts";
import { blobOf, type CopiedBlob } from "./blob.ts";

/** More of them than this are found by looking through all blobs. */
const KEPT_MAX = 50_000;

export class Newcomers {
  readonly #waitMs: number;
  readonly #max: number;
  /** In the order of time. */
  #waiting: { readonly blob: CopiedBlob; readonly due: number }[] = [];

  constructor(waitMs: number, max: number = KEPT_MAX) {
    this.#waitMs = waitMs;
    this.#max = max;
  }

  /** False when there are too many, and none is kept. */
  take({ changes }: Change, now: number): boolean {
    for (const { value } of changes) {
      const blob = value === undefined ? undefined : blobOf(value);
      if (blob !== undefined) this.add(blob, now);
    }
    if (this.#waiting.length <= this.#max) return true;
    this.#waiting = [];
    return false;
  }

  add(blob: CopiedBlob, now: number): void {
    this.#waiting.push({ blob, due: now + this.#waitMs });
  }

  /** At most `limit` of those whose time has come. */
  due(now: number, limit: number): CopiedBlob[] {
    const end = this.#waiting.findIndex(({ due }) => due > now);
    const count = Math.min(end < 0 ? this.#waiting.length : end, limit);
    return this.#waiting.splice(0, count).map(({ blob }) => blob);
  }
}
