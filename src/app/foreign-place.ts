/** What another registry has left where our own things lie. */
import { openDistributionLayout as openDirectory } from "../blobs/file/distribution-layout.ts";
import type { ForeignLayout } from "../blobs/foreign.ts";
import { openDistributionLayout as openBucket } from "../blobs/s3/index.ts";
import { findForeignWriters, refusalOf } from "./adoption-writers.ts";
import type { BucketAccess } from "./bucket.ts";
import { StartError } from "./start-error.ts";

export interface ForeignPlace {
  readonly layout: ForeignLayout;
  /** For messages. */
  readonly where: string;
  /** Why nothing can be taken over now: a sentence. */
  obstacle(): string | undefined;
  /** What cannot be seen from here, and the operator has to see to: a sentence. */
  readonly caution: string | undefined;
}

/** Throws `StartError` while another program writes there. */
export function foreignInDirectory(directory: string): ForeignPlace | undefined {
  let layout: ForeignLayout | undefined;
  try {
    layout = openDirectory(directory);
  } catch (error) {
    throw new StartError(error instanceof Error ? error.message : String(error));
  }
  if (layout === undefined) return undefined;
  const obstacle = (): string | undefined => {
    const writers = findForeignWriters(directory);
    return writers.length > 0 ? refusalOf(directory, writers) : undefined;
  };
  const reason = obstacle();
  if (reason !== undefined) throw new StartError(reason);
  return { layout, where: `${directory}/docker/registry/v2`, obstacle, caution: undefined };
}

/** `name`: of the bucket, for messages. */
export function foreignInBucket(bucket: BucketAccess, name: string): ForeignPlace | undefined {
  const layout = layoutInBucket(bucket);
  return (
    layout && {
      layout,
      where: `docker/registry/v2 in the ${name}`,
      obstacle: () => undefined,
      caution:
        "nobody can see from here whether distribution still writes to the bucket: it has to be stopped, or read-only (storage.maintenance.readonly), and its garbage collector must not run any more",
    }
  );
}

/** Makes no request. */
export function layoutInBucket({
  options,
  holdsDistribution,
}: BucketAccess): ForeignLayout | undefined {
  return holdsDistribution ? openBucket(options) : undefined;
}
