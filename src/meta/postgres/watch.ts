/** Following the history: read what there is, then wait until somebody says that there is more, or for a while. */
import { type Change, type MetaStore, StoreUnavailable } from "../port.ts";
import type { Listener } from "./listener.ts";
import { StoreReplaced } from "./errors.ts";
import type { Progress } from "../progress.ts";
import type { Reader } from "./reader.ts";

/** Commits read at once: bounds memory, since each may carry many values. */
const PAGE = 32;
/** How late a commit is seen at most that nobody has told of, and how soon a server that is away is asked again. */
const POLL_MS = 500;

/** `MetaStore.watch` over the history. Waits while the server is away; throws `StoreUnavailable` once the store is closed or replaced. */
export async function* watchChanges(
  reader: Reader,
  progress: Progress,
  listener: Listener,
  { prefix, after, signal }: Parameters<MetaStore["watch"]>[0],
): AsyncGenerator<Change, void, void> {
  let seen = after;
  let told = true;
  listener.start();
  try {
    while (!signal.aborted) {
      progress.requireRunning();
      const page = await nextPage(reader, seen, prefix);
      if (signal.aborted) return;
      // Nobody had told of these: they were found by asking.
      if (!told && page !== undefined && page.length > 0) listener.restart();
      else if (page !== undefined) listener.ensure();
      for (const commit of page ?? []) {
        seen = commit.revision;
        if (commit.changes.length === 0) continue;
        yield commit;
        if (signal.aborted) return;
      }
      told = page?.length === PAGE || (await progress.passed(seen, signal, POLL_MS));
    }
  } finally {
    listener.stop();
  }
}

/** `undefined` while the server is away. */
async function nextPage(
  reader: Reader,
  after: number,
  prefix: string,
): Promise<readonly Change[] | undefined> {
  try {
    return await reader.changes(after, prefix, PAGE);
  } catch (error) {
    if (error instanceof StoreUnavailable && !(error instanceof StoreReplaced)) return undefined;
    throw error;
  }
}
