/** Telling the others how much room this node's store has. */
import { Beat } from "../../base/beat.ts";
import { BlobStoreUnavailable, type BlobStore } from "../../blobs/port.ts";
import { StoreUnavailable, type MetaStore } from "../../meta/port.ts";
import { noteSpace } from "./membership.ts";

const REPORT_MS = 30_000;

export interface SpaceOptions {
  readonly meta: MetaStore;
  readonly blobs: Pick<BlobStore, "space">;
  /** The node. */
  readonly name: string;
  readonly everyMs?: number;
}

/** Reports now and every 30 s what has changed by more than 1 %, until it is stopped. */
export function reportSpace({ meta, blobs, name, everyMs }: SpaceOptions): AsyncDisposable {
  const report = async (): Promise<void> => {
    try {
      const space = await blobs.space();
      if (space !== undefined) await noteSpace(meta, name, space);
    } catch (error) {
      // The next turn says it; who asks for the disk's health hears of it elsewhere.
      if (!(error instanceof StoreUnavailable || error instanceof BlobStoreUnavailable))
        throw error;
    }
  };
  const first = report();
  const beat = new Beat(everyMs ?? REPORT_MS, report);
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all([first, beat.stop(1000)]);
    },
  };
}
