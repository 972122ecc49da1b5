/**
 * The furthest state of etcd that this process has seen. An etcd that shows less has been put back, as a restored
 * snapshot does, and gives revisions out again: nothing that is known of them holds any more, so there is no way back.
 */
import { StoreUnavailable } from "../port.ts";
import type { Header, RawRevision } from "./wire.ts";

export class Known {
  #raw: RawRevision = 0;
  #wentBack: string | undefined;

  /** What an answer must show at least: to be taken before it is asked for. Throws once etcd has gone back. */
  floor(): RawRevision {
    if (this.#wentBack !== undefined) throw new StoreUnavailable(this.#wentBack);
    return this.#raw;
  }

  /** etcd has had this revision. */
  raise(raw: RawRevision): void {
    this.#raw = Math.max(this.#raw, raw);
  }

  /** Takes in an answer that a majority has confirmed. Throws when it shows less than `floor`. */
  check(floor: RawRevision, { revision }: Header): void {
    const raw = Number(revision);
    if (raw < floor) throw this.wentBack(`revision ${raw} after ${floor}`);
    this.raise(raw);
  }

  /** The error for everything from now on; `shown`: by what it was noticed. */
  wentBack(shown: string): StoreUnavailable {
    this.#wentBack ??= `etcd was put back to an earlier state (it shows ${shown}): stop all nodes, delete the keys below metadata.etcd.prefix and run \`holdfast rebuild\``;
    return new StoreUnavailable(this.#wentBack);
  }
}
