/** Stores on a real S3 server, as the nodes of one installation have them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openMetaNotes, openS3Store, type S3Options } from "../../src/blobs/s3/index.ts";
import type { BlobStore } from "../../src/blobs/port.ts";
import { openWriter } from "../../src/meta/sqlite/index.ts";
import type { MetaStore } from "../../src/meta/port.ts";

export interface S3Nodes {
  readonly meta: MetaStore;
  /** A store as another process has it; `run` names the process. */
  node(run: string, more?: Partial<S3Options>): Promise<BlobStore>;
  /** From now on every node takes this one for dead. */
  kill(run: string): void;
  close(): Promise<void>;
}

/** Nodes that share a bucket and a real database. */
export function openNodes(s3: S3Options): S3Nodes {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-notes-"));
  const meta = openWriter({ path: join(directory, "meta.db") });
  const dead = new Set<string>();
  const stores: BlobStore[] = [];
  return {
    meta,
    async node(run, more) {
      const notes = openMetaNotes({ meta, run, isAlive: async (other) => !dead.has(other) });
      const store = await openS3Store({ ...s3, ...more, notes });
      stores.push(store);
      return store;
    },
    kill: (run) => void dead.add(run),
    async close() {
      for (const store of stores) await store.close();
      await meta.close();
      rmSync(directory, { recursive: true });
    },
  };
}
