/** The blobs that a store should hold and does not. */
import type { Locator, StoredBlob } from "../../blobs/port.ts";

/** Blobs kept in memory; of what is beyond, only the number. */
const KEPT_MAX = 20_000;

interface Item {
  readonly blob: StoredBlob;
  state: "waiting" | "busy" | "failed";
  /** Copies that others were seen to hold. */
  copies: number;
  /** The survey during which it failed. */
  failedIn: number;
}

export class Backlog {
  readonly #max: number;
  readonly #items = new Map<Locator, Item>();
  /** Those that wait, by copies. */
  readonly #queues: Set<Item>[] = [];
  #bytes = 0;
  #survey = 0;
  /** Missing and not kept, as of the latest survey. */
  beyond: { readonly blobs: number; readonly bytes: number } = { blobs: 0, bytes: 0 };

  constructor(max: number = KEPT_MAX) {
    this.#max = max;
  }

  get blobs(): number {
    return this.#items.size + this.beyond.blobs;
  }

  get bytes(): number {
    return this.#bytes + this.beyond.bytes;
  }

  /** Adds a blob, or tries it again. False where there is no room. */
  add(blob: StoredBlob, copies: number): boolean {
    const known = this.#items.get(blob.locator);
    if (known === undefined && this.#items.size >= this.#max) return false;
    const item: Item = known ?? { blob, state: "waiting", copies, failedIn: 0 };
    if (known === undefined) {
      this.#items.set(blob.locator, item);
      this.#bytes += blob.size;
    }
    if (item.state === "busy") return true;
    this.#queues[item.copies]?.delete(item);
    item.copies = copies;
    item.state = "waiting";
    (this.#queues[copies] ??= new Set()).add(item);
    return true;
  }

  /** The most endangered. It must end with `done` or `failed`. */
  take(): StoredBlob | undefined {
    for (const queue of this.#queues) {
      for (const item of queue ?? []) {
        queue.delete(item);
        item.state = "busy";
        return item.blob;
      }
    }
    return undefined;
  }

  /** It is there, or is not missed any more. */
  done({ locator, size }: StoredBlob): void {
    if (this.#items.delete(locator)) this.#bytes -= size;
  }

  /** To be tried again when somebody adds it anew. */
  failed({ locator }: StoredBlob): void {
    const item = this.#items.get(locator);
    if (item?.state !== "busy") return;
    item.state = "failed";
    item.failedIn = this.#survey;
  }

  /** All blobs are looked through from here on: what is missed still is added again. */
  surveyBegins(): void {
    this.#survey++;
  }

  /** Forgets what failed before and was not found to be missed again: it is gone, or somebody else's now. */
  surveyEnds(beyond: Backlog["beyond"]): void {
    this.beyond = beyond;
    for (const { blob, state, failedIn } of this.#items.values())
      if (state === "failed" && failedIn < this.#survey) this.done(blob);
  }
}
