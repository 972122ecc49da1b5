import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blobStoreConformance } from "../conformance.ts";
import { openFileStore } from "./store.ts";

blobStoreConformance("file", async () => {
  const directory = await mkdtemp(join(tmpdir(), "holdfast-blobs-"));
  const store = await openFileStore({ directory });
  const other = await openFileStore({ directory });
  return {
    store,
    other,
    async close() {
      await store.close();
      await other.close();
      await rm(directory, { recursive: true });
    },
  };
});
