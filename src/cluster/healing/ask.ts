/** Asking another store which blobs it holds. */
import type { Locator } from "../../blobs/port.ts";
import type { Others } from "../copies/others.ts";
import { PeerUnavailable } from "../peer/port.ts";
import type { Ask } from "./survey.ts";

const ASK_MS = 5000;

/** A store that cannot be asked is one that holds nothing, as far as healing is concerned. */
export function asking(others: Others, signal: AbortSignal): Ask {
  return async (node, blobs) => {
    try {
      const body = JSON.stringify(blobs.map(({ locator }) => locator));
      const answer = await others.fetch(node, "/v1/blobs/has", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
        timeoutMs: ASK_MS,
        signal,
      });
      const text = await answer.text();
      if (answer.status !== 200) return new Set();
      const sizes = JSON.parse(text) as readonly (number | null)[];
      const held = blobs.filter(({ size }, i) => sizes[i] === size);
      return new Set<Locator>(held.map(({ locator }) => locator));
    } catch (error) {
      if (error instanceof PeerUnavailable) return new Set();
      throw error;
    }
  };
}
