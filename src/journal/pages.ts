/** The whole store, a page at a time. */
import type { MetaStore, ScanResult } from "../meta/port.ts";

const PAGE = 1000;

/** Every page in the order of the keys; each is a snapshot of its own moment. Keys may be deleted meanwhile. */
export async function* pagesOf(
  store: MetaStore,
  { keysOnly = false } = {},
): AsyncGenerator<ScanResult, void, void> {
  let after: string | undefined;
  for (;;) {
    const bound = after === undefined ? {} : { after };
    const page = await store.scan({ prefix: "", limit: PAGE, keysOnly, ...bound });
    yield page;
    const last = page.entries.at(-1);
    if (!page.more || last === undefined) return;
    after = last.key;
  }
}
