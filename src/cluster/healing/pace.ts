/** Keeping to a rate. */
import { waited } from "../../base/waited.ts";

/** Ahead of the rate by so much nobody waits: waiting costs a timer. */
const SLACK_MS = 20;

export class Pace {
  readonly #bytesPerSecond: number;
  /** When all that was taken is due, in monotonic milliseconds. */
  #due = 0;

  /** 0: no limit. */
  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Resolves when so many bytes may have passed, all users together; or when `signal` aborts. */
  async took(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerSecond === 0) return;
    const now = performance.now();
    this.#due = Math.max(this.#due, now) + (bytes / this.#bytesPerSecond) * 1000;
    const wait = this.#due - now;
    if (wait > SLACK_MS) await waited(wait, signal);
  }
}

/** Bytes a second over the last ten seconds. */
export class Rate {
  readonly #now: () => number;
  #marks: { readonly at: number; readonly bytes: number }[] = [];
  #pending = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  add(bytes: number): void {
    this.#pending += bytes;
  }

  /** To be called about once a second. */
  get perSecond(): number {
    const at = this.#now();
    this.#marks.push({ at, bytes: this.#pending });
    this.#pending = 0;
    this.#marks = this.#marks.filter((mark) => at - mark.at < 10_000);
    const first = this.#marks[0];
    if (first === undefined || first.at === at) return 0;
    const bytes = this.#marks.slice(1).reduce((total, mark) => total + mark.bytes, 0);
    return Math.round((bytes / (at - first.at)) * 1000);
  }
}
