/** Comparing what stores should hold with what they hold. */
import type { PlacedStore } from "../../blobs/placed.ts";
import type { Locator, StoredBlob } from "../../blobs/port.ts";
import { keys } from "../../meta/keys.ts";
import { requireFresh } from "../../meta/fresh.ts";
import { pages } from "../../meta/pages.ts";
import type { MetaStore } from "../../meta/port.ts";
import type { NodeState } from "../node.ts";
import { placement, type Placement } from "../placement.ts";
import { blobOf, type CopiedBlob } from "./blob.ts";
import type { View } from "./view.ts";

/** Which of these blobs the node's store holds, whole; none where it cannot be asked. */
export type Ask = (node: NodeState, blobs: readonly StoredBlob[]) => Promise<ReadonlySet<Locator>>;

export interface SurveyOptions {
  readonly meta: MetaStore;
  readonly store: PlacedStore;
  readonly view: View;
  readonly copies: number;
  readonly ask: Ask;
  /** Whether the blob has only just been pushed: then it is looked at elsewhere, a little later. */
  readonly isNew: (blob: CopiedBlob) => boolean;
  readonly signal: AbortSignal;
}

/** What was found out about a blob. */
export interface Finding {
  readonly blob: CopiedBlob;
  /**
   * `missing`: this store should hold it and does not; where it should only because another is nearly full, it is
   * missing if there are too few. `surplus`: it need not, and does, and all that should are live and hold it.
   */
  readonly here: "missing" | "surplus" | "right";
  /** Copies of the right size in live stores that do not drain. */
  readonly copies: number;
  /** It has fewer copies than it should, and this is the store that counts it. */
  readonly isEndangered: boolean;
}

/** Yields, a page at a time, the findings that are worth a word. Throws `StoreUnavailable`, the signal's reason. */
export async function* survey(options: SurveyOptions): AsyncGenerator<Finding[], void, void> {
  for await (const page of pages(options.meta, keys.blobs)) {
    options.signal.throwIfAborted();
    const blobs = requireFresh(page).entries.flatMap(({ value }) => blobOf(value) ?? []);
    yield await examine(
      options,
      blobs.filter((blob) => !options.isNew(blob)),
    );
  }
}

/** The same for some blobs: a page at most. */
export async function examine(
  { store, view, copies, ask }: Omit<SurveyOptions, "meta" | "signal" | "isNew">,
  blobs: readonly CopiedBlob[],
): Promise<Finding[]> {
  const { self, placed, live, durable, wanted } = view;
  if (self === undefined) return [];
  // While too few are left for all copies, those on nodes that drain are worth having.
  const least = Math.max(wanted, Math.min(copies, placed.length));
  const sizes = await Promise.all(blobs.map(({ locator }) => store.stat(locator)));
  const looks = blobs.map((blob, i) => {
    const place = placement(blob.locator, placed, copies, durable);
    const shouldHold = place.holders.includes(self);
    return {
      blob,
      place,
      isHere: sizes[i] === blob.size,
      isMissing: shouldHold && sizes[i] !== blob.size,
      isSurplus: !shouldHold && !place.keepers.includes(self) && sizes[i] !== undefined,
      isFirst: firstLive(place, live) === self,
    };
  });
  const worth = looks.filter((look) => look.isMissing || look.isSurplus || look.isFirst);
  const asked = worth.map(({ blob }) => blob);
  const others = [...live].filter((node) => node !== self);
  const answers = new Map(
    await Promise.all(
      others.map(async (node) => [node, asked.length > 0 ? await ask(node, asked) : none] as const),
    ),
  );
  return worth
    .map(({ blob, place, isHere, isMissing, isSurplus, isFirst }): Finding => {
      const holds = (node: NodeState) =>
        node === self ? isHere : (answers.get(node)?.has(blob.locator) ?? false);
      const counted = [...live].filter((node) => !node.draining || place.holders.includes(node));
      const found = counted.filter(holds).length;
      const isLacking = isMissing && (place.keepers.includes(self) || found < wanted);
      const isSafe = place.holders.length >= least && place.holders.every(holds);
      return {
        blob,
        here: isLacking ? "missing" : isSurplus && isSafe ? "surplus" : "right",
        copies: found,
        isEndangered: isFirst && found < wanted,
      };
    })
    .filter(({ here, isEndangered }) => here !== "right" || isEndangered);
}

const none: ReadonlySet<Locator> = new Set();

function firstLive(
  { holders, further }: Placement<NodeState>,
  live: ReadonlySet<NodeState>,
): NodeState | undefined {
  return holders.find((node) => live.has(node)) ?? further.find((node) => live.has(node));
}
