/** Long scans, a page at a time. */
import type { MetaStore, ScanOptions, ScanResult } from "./port.ts";

/** Entries read at once: bounds memory, and how long other requests wait for one page. */
const PAGE = 500;

/**
 * All entries under a prefix, in order. Each page shows its own moment, and keys may be deleted meanwhile. Others get
 * their turn between pages.
 */
export async function* pages(
  meta: MetaStore,
  prefix: string,
  options: Pick<ScanOptions, "after" | "keysOnly"> = {},
): AsyncGenerator<ScanResult, void, void> {
  let bound = options;
  for (;;) {
    const page = await meta.scan({ prefix, limit: PAGE, ...bound });
    yield page;
    const last = page.entries.at(-1);
    if (!page.more || last === undefined) return;
    bound = { ...options, after: last.key };
    // A read may not wait for anything, and a promise alone lets nobody else run.
    await new Promise((resolve) => setImmediate(resolve));
  }
}
