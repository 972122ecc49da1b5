/** Following what is under a prefix, through everything that may happen to the metadata store meanwhile. */
import { waited } from "../../base/waited.ts";
import {
  RevisionCompacted,
  StoreUnavailable,
  type Change,
  type MetaStore,
  type Revision,
} from "../../meta/port.ts";

const RETRY_MS = 300;

export interface FollowOptions {
  readonly meta: MetaStore;
  readonly prefix: string;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Go on after this revision; left out, it begins with `anew`. */
  readonly after?: Revision;
  /** Changes were missed: read everything, and say from which revision to go on. */
  readonly anew: () => Promise<Revision>;
  readonly take: (change: Change) => void;
}

/** Resolves when `signal` aborts. While the store is away, what was taken stands. */
export async function follow(options: FollowOptions): Promise<void> {
  const { meta, prefix, signal } = options;
  let after = options.after;
  while (!signal.aborted) {
    try {
      after ??= await options.anew();
      for await (const change of meta.watch({ prefix, after, signal })) {
        options.take(change);
        after = change.revision;
      }
    } catch (error) {
      if (error instanceof RevisionCompacted) after = undefined;
      else if (!(error instanceof StoreUnavailable) && !signal.aborted) throw error;
    }
    await waited(RETRY_MS, signal);
  }
}
