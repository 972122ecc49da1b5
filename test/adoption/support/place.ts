/** A directory of a test's own, and everything in it that ends with it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Place extends Disposable {
  /** Data directory, not made yet. */
  readonly data: string;
  readonly home: string;
}

export function place(): Place {
  const home = mkdtempSync(join(tmpdir(), "holdfast-adopt-"));
  return {
    home,
    data: join(home, "data"),
    [Symbol.dispose]: () => rmSync(home, { recursive: true, force: true }),
  };
}
