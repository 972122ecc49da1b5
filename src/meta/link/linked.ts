/** A worker's store over a network engine: reads by itself, commits through its parent, which groups and journals them. */
import { delegate } from "../delegate.ts";
import type { MetaStore } from "../port.ts";
import { linkToCommitter } from "./link.ts";

export interface LinkedOptions {
  /** For reads and watches; closed together with the store. */
  readonly engine: MetaStore;
  /** Path of the committing process's socket. */
  readonly socket: string;
  /** Called once when the committing process is gone without `close` having been called. */
  readonly onLost: () => void;
}

/** Throws `StoreUnavailable` when nobody commits at `socket`. */
export async function openLinked(options: LinkedOptions): Promise<MetaStore> {
  let closing = false;
  const link = await linkToCommitter(options.socket, {
    onRevision() {},
    onGone() {
      if (!closing) options.onLost();
    },
  });
  const { engine } = options;
  return delegate(engine, {
    commit: (commit) => link.commit(commit),
    async close() {
      closing = true;
      await link.close();
      await engine.close();
    },
  });
}
