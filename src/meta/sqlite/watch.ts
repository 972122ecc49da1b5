/** Following the history: read what there is, then wait until somebody says that there is more. */
import type { Change, MetaStore } from "../port.ts";
import type { Progress } from "../progress.ts";

/** Commits read at once: bounds memory, since each may carry many values. */
const PAGE = 32;

/**
 * `MetaStore.watch` over the local history. `read` returns commits after a revision, in order, at most `limit` or
 * else all that there are; those that touch no key under the prefix come with no changes.
 */
export async function* watchChanges(
  read: (after: number, prefix: string, limit: number) => readonly Change[],
  progress: Progress,
  { prefix, after, signal }: Parameters<MetaStore["watch"]>[0],
): AsyncGenerator<Change, void, void> {
  let seen = after;
  while (!signal.aborted) {
    progress.requireRunning();
    const page = read(seen, prefix, PAGE);
    for (const commit of page) {
      seen = commit.revision;
      if (commit.changes.length === 0) continue;
      yield commit;
      if (signal.aborted) return;
    }
    if (page.length < PAGE) await progress.passed(seen, signal);
  }
}
