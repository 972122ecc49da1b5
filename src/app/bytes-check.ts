/** Whether the place of the bytes can be used: asked of again and again, so it has to be cheap. */
import type { ObjectStore } from "../blobs/objects.ts";
import type { BlobStore } from "../blobs/port.ts";

export interface BytesCheck {
  /** For messages. */
  readonly name: string;
  /** What is wrong, if anything. Throws what the store throws. */
  ask(): Promise<string | undefined>;
}

/** A bucket that answered is not asked again for so long: each request costs money. */
const GOOD_MS = 10_000;
/** There or not: that it is answered is what counts. */
const RECORD = "holdfast.json";

export function filesCheck(blobs: BlobStore): BytesCheck {
  return {
    name: "the blob store",
    async ask() {
      const space = await blobs.space();
      return space?.free === 0 ? "the disk of the data directory is full" : undefined;
    },
  };
}

/** `name` as in `bucketName`. */
export function bucketCheck(objects: ObjectStore, name: string): BytesCheck {
  let good = -Infinity;
  return {
    name: `the ${name}`,
    async ask() {
      const now = performance.now();
      if (now - good < GOOD_MS) return undefined;
      await objects.get(RECORD);
      good = now;
      return undefined;
    },
  };
}
