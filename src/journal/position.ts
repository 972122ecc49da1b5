/**
 * How far each node's journal reaches, told to the others in the store itself, so that they need not write the same
 * commits again. A node that died says no more, and the others write on from where it was.
 */
import type { Clock } from "../base/clock.ts";
import { keys } from "../meta/keys.ts";
import type { Change, MetaStore, Revision } from "../meta/port.ts";

interface PositionRecord {
  readonly covered: Revision;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

const EVERY_MS = 1000;
const NUDGE_MS = 500;
/** A writer that has been silent for so long does not come back under its name. */
const FORGOTTEN_MS = 7 * 86_400_000;

/** The furthest position that a commit tells; 0 when it tells none. */
export function toldBy({ changes }: Change): Revision {
  let furthest = 0;
  for (const { key, value } of changes)
    if (value !== undefined && key.startsWith(keys.journals))
      furthest = Math.max(furthest, (JSON.parse(value) as PositionRecord).covered);
  return furthest;
}

/** Removes what writers that are long gone have told. */
export async function forgetOldPositions(store: MetaStore, clock: Clock): Promise<void> {
  const { entries } = await store.scan({ prefix: keys.journals, limit: 100 });
  const old = entries.filter(
    ({ value }) => (JSON.parse(value) as PositionRecord).at < clock.now() - FORGOTTEN_MS,
  );
  if (old.length > 0)
    await store.commit({
      expect: old.map(({ key, version }) => ({ key, version })),
      delete: old.map(({ key }) => key),
    });
}

/** Tells this node's position, at most once a second. */
export class Teller {
  readonly #store: MetaStore;
  readonly #writer: string;
  readonly #clock: Clock;
  #position: Revision = 0;
  #told: Revision = 0;
  #toldAt = -Infinity;
  #telling: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(store: MetaStore, writer: string, clock: Clock) {
    this.#store = store;
    this.#writer = writer;
    this.#clock = clock;
  }

  /** The journal reaches `position`. */
  note(position: Revision): void {
    this.#position = position;
    if (position <= this.#told || this.#timer !== undefined) return;
    const wait = Math.max(0, this.#toldAt + EVERY_MS - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#position > this.#told) void this.tell();
    }, wait);
  }

  /** Writes the record now: a commit whose revision is greater than every one known before. Failure is silent. */
  tell(): Promise<void> {
    this.#telling ??= this.#write().finally(() => (this.#telling = undefined));
    return this.#telling;
  }

  /** Tells it again for the sake of the commit, if that has not just been done. */
  nudge(): void {
    if (performance.now() - this.#toldAt > NUDGE_MS) void this.tell();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  async #write(): Promise<void> {
    const record: PositionRecord = { covered: this.#position, at: this.#clock.now() };
    this.#toldAt = performance.now();
    try {
      await this.#store.commit({
        put: [{ key: keys.journal(this.#writer), value: JSON.stringify(record) }],
      });
      this.#told = record.covered;
    } catch {
      // The others do without: they write what they have heard of.
    }
  }
}
