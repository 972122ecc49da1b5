/** The commits that segments hold, in order and each once. */
import type { ObjectStore } from "../blobs/objects.ts";
import type { Revision } from "../meta/port.ts";
import { decodedAs } from "./basis.ts";
import { chainFrom } from "./coverage.ts";
import { JournalDamaged } from "./errors.ts";
import type { StoredSegment } from "./inventory.ts";
import type { DecodedSegment, JournaledCommit } from "./segment.ts";

export interface ReplayOptions {
  readonly objects: ObjectStore;
  readonly segments: readonly StoredSegment[];
  readonly after: Revision;
  readonly signal?: AbortSignal | undefined;
  /** Called after all commits of a segment have been taken. */
  readonly onRead?: (segment: StoredSegment) => void;
  /** Called with the name of a segment at the end that is damaged: commits from it on may be missing. */
  readonly onTorn?: (name: string) => void;
}

/** Segments fetched ahead of their turn: a bucket answers slowly, but many at once. */
const AHEAD = 16;

/**
 * Ends where the chain of segments ends. A damaged segment is passed over when others hold the same commits; at the
 * end, what can be read of it is taken. Anywhere else: `JournalDamaged`.
 */
export async function* replay(options: ReplayOptions): AsyncGenerator<JournaledCommit, void, void> {
  const { objects, segments, after, signal, onRead, onTorn } = options;
  const { end } = chainFrom(after, segments);
  let candidates = segments;
  let reached = after;
  let torn: DecodedSegment | undefined;
  for (;;) {
    let damaged: Read | undefined;
    for await (const read of fetched(objects, chainFrom(reached, candidates).runs)) {
      signal?.throwIfAborted();
      if (!read.decoded?.whole) {
        damaged = read;
        break;
      }
      yield* commitsAfter(reached, read.decoded);
      reached = read.segment.last;
      onRead?.(read.segment);
    }
    if (damaged === undefined) break;
    const { segment, decoded } = damaged;
    candidates = candidates.filter((one) => one !== segment);
    if (segment.last === end && chainFrom(reached, candidates).end < end) {
      torn ??= decoded;
      onTorn?.(segment.name);
    } else if (chainFrom(reached, candidates).end < segment.last && reached < segment.last) {
      throw new JournalDamaged(
        `${segment.name} is damaged or gone, and no other segment holds its commits: put it back from a copy of the journal, or rebuild the state of an earlier time with --at`,
      );
    }
  }
  if (torn !== undefined) yield* commitsAfter(reached, torn);
}

function* commitsAfter(
  reached: Revision,
  { commits }: DecodedSegment,
): Generator<JournaledCommit, void, void> {
  for (const commit of commits) if (commit.revision > reached) yield commit;
}

interface Read {
  readonly segment: StoredSegment;
  readonly decoded: DecodedSegment | undefined;
}

async function* fetched(
  objects: ObjectStore,
  segments: readonly StoredSegment[],
): AsyncGenerator<Read, void, void> {
  // Decoded only in its turn: as it is stored it is small.
  const reading: { segment: StoredSegment; bytes: ReturnType<ObjectStore["get"]> }[] = [];
  let next = 0;
  const fetchNext = () => {
    const segment = segments[next++];
    if (segment === undefined) return;
    const bytes = objects.get(segment.name);
    // Its failure shows when its turn comes, which may be never.
    bytes.catch(() => {});
    reading.push({ segment, bytes });
  };
  for (let ahead = 0; ahead < AHEAD; ahead++) fetchNext();
  for (let read = reading.shift(); read !== undefined; read = reading.shift()) {
    const { segment } = read;
    const decoded = decodedAs(segment, await read.bytes);
    fetchNext();
    yield { segment, decoded };
  }
}
