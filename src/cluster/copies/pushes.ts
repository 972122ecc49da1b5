/** Pushes under way: those that go on after they were answered, and those that came to nothing. */
import type { PlacedStore } from "../../blobs/placed.ts";
import { BlobStoreUnavailable, type Locator } from "../../blobs/port.ts";
import type { NodeState } from "../node.ts";
import type { Others } from "./others.ts";
import { blobPath } from "./send.ts";
import type { Spread } from "./spread.ts";

/** To remove a copy that nothing refers to, in milliseconds; what is left is found as bytes without an owner. */
const REMOVE_MS = 2000;
/** Closing waits so long for copies that nobody waits for. */
const CLOSE_MS = 3000;

export class Pushes {
  readonly others: Others;
  readonly #local: PlacedStore;
  readonly #active = new Map<AbortController, Promise<void>>();

  constructor(others: Others, local: PlacedStore) {
    this.others = others;
    this.#local = local;
  }

  begin(): AbortController {
    return new AbortController();
  }

  /** Lets the copies that are still under way go on. */
  goOn(push: AbortController, { settled }: Spread): void {
    const done = settled().finally(() => this.#active.delete(push));
    this.#active.set(push, done);
  }

  /** Ends a push, and removes its copies, those included that other nodes may have come to. */
  async giveUp(push: AbortController, locator: Locator, outcome: Spread): Promise<void> {
    push.abort(new Error("the push has failed"));
    await outcome.settled();
    await Promise.allSettled([
      this.#local.delete(locator),
      ...outcome.asked.map((node) => this.#remove(node, locator)),
    ]);
  }

  tooFew({ held, failures }: Spread): BlobStoreUnavailable {
    const dead = this.others.all().filter(({ isLive }) => !isLive);
    const reasons = [
      ...failures,
      ...dead
        .map(({ name }) => `${name}: it is not live`)
        .filter((text) => !isSaid(text, failures)),
    ].sort();
    return new BlobStoreUnavailable(
      `only ${held.length + 1} of the ${this.others.durable()} copies that a push needs could be written ` +
        `(${this.others.copies()} are wanted in all): ${reasons.join("; ") || "there are no other nodes"}`,
    );
  }

  /** Waits a little for what goes on, and ends it. */
  async close(): Promise<void> {
    const timer = setTimeout(() => {
      for (const push of this.#active.keys()) push.abort(new Error("the server is stopping"));
    }, CLOSE_MS);
    await Promise.all(this.#active.values());
    clearTimeout(timer);
  }

  async #remove(node: NodeState, locator: Locator): Promise<void> {
    const request = { method: "DELETE", timeoutMs: REMOVE_MS } as const;
    await this.others.order(node, blobPath(locator), request);
  }
}

function isSaid(text: string, failures: readonly string[]): boolean {
  const name = text.slice(0, text.indexOf(":") + 1);
  return failures.some((failure) => failure.startsWith(name));
}
