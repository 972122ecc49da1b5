/** From the lines of a watch stream to whole commits. */
import type { Change } from "../port.ts";
import type { Space } from "./space.ts";
import { decode, type RawRevision, type WatchAnswer } from "./wire.ts";

/** One revision's changes; none when it only shows how far the stream has come. */
export interface Step {
  readonly raw: RawRevision;
  readonly changes: Change["changes"];
}

/** Puts the events of one revision together, over however many messages they come. */
export class StepReader {
  readonly #space: Space;
  #raw: RawRevision = 0;
  #changes: Change["changes"][number][] = [];

  constructor(space: Space) {
    this.#space = space;
  }

  /** The revisions that this message completes, in order. */
  *push({ events = [], fragment = false }: WatchAnswer): Generator<Step, void, void> {
    for (const { kv, type } of events) {
      const raw = Number(kv.mod_revision);
      if (raw !== this.#raw) {
        yield* this.#complete();
        this.#raw = raw;
      }
      const key = this.#space.keyOf(kv.key);
      if (key !== undefined)
        this.#changes.push({ key, value: type === "DELETE" ? undefined : decode(kv.value) });
    }
    // Only a fragment may end within a revision.
    if (!fragment) yield* this.#complete();
  }

  *#complete(): Generator<Step, void, void> {
    if (this.#raw === 0) return;
    yield { raw: this.#raw, changes: this.#changes };
    this.#raw = 0;
    this.#changes = [];
  }
}

/** Cuts chunks of any size into lines, without their ends. */
export class LineReader {
  readonly #decoder = new TextDecoder();
  #rest: string[] = [];

  push(chunk: Uint8Array): string[] {
    const [first = "", ...others] = this.#decoder.decode(chunk, { stream: true }).split("\n");
    if (others.length === 0) {
      this.#rest.push(first);
      return [];
    }
    const lines = [this.#rest.join("") + first, ...others];
    this.#rest = [lines.pop() ?? ""];
    return lines.filter((line) => line !== "");
  }
}
