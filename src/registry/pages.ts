/** Long scans, a page at a time. */
import type { MetaStore, ScanResult } from "../meta/port.ts";

/** Entries read at once: bounds memory, and how long other requests wait for one page. */
const PAGE = 500;

/** All entries under a prefix, in order. Each page shows its own moment. Others get their turn between pages. */
export async function* pages(
  meta: MetaStore,
  prefix: string,
  after?: string,
): AsyncGenerator<ScanResult> {
  let last = after;
  for (;;) {
    const page = await meta.scan({ prefix, limit: PAGE, ...(last ? { after: last } : {}) });
    yield page;
    if (!page.more) return;
    last = page.entries.at(-1)?.key;
    // A read may not wait for anything, and a promise alone lets nobody else run.
    await new Promise((resolve) => setImmediate(resolve));
  }
}
