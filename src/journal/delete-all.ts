import type { ObjectStore } from "../blobs/objects.ts";

const AT_ONCE = 8;

/** Deletes objects, several at a time. */
export async function deleteAll(
  objects: ObjectStore,
  names: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const left = names.values();
  const lane = async () => {
    for (const name of left) {
      signal?.throwIfAborted();
      await objects.delete(name);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}
