/** What was pushed and deleted, and what follows for whoever looks: the model that the answers are compared with. */
import type { Action, Operation } from "../../shared/support/linearizable.ts";
import { bytesOf, sha256 } from "../../support/push.ts";

export interface Bytes {
  readonly digest: string;
  readonly size: number;
  /** `bytesOf(seed, size)` are they. */
  readonly seed: number;
}

export interface ItemPlan {
  readonly repository: string;
  /** Of its manifest, or of itself. */
  readonly digest: string;
  /** Of an image, which its tag never leaves. */
  readonly image?: { readonly tag: string; readonly manifest: string };
  /** Config and layers, or the blob itself. */
  readonly blobs: readonly Bytes[];
}

/** There or not there; a moment at which somebody changes that is neither. */
export type State = "there" | "gone" | "unsure";

/** What an answer said; "nothing" where it was not even asked for; `undefined` where no answer came, and it may yet happen. */
export type Outcome = Action | "nothing" | undefined;

/** An image or a blob of its own. One client at a time pushes or deletes it. */
export class Item {
  readonly plan: ItemPlan;
  readonly history: Operation[] = [];
  state: State = "gone";
  isBusy = false;
  /** Changes when a push or a delete begins or ends. */
  version = 0;
  /** A push without an answer may happen later, so that a delete is no last word; and the other way round. */
  mayBeDeleted = true;
  mayBePushed = true;

  constructor(plan: ItemPlan) {
    this.plan = plan;
  }

  async change(kind: "push" | "delete", work: () => Promise<Outcome>): Promise<Outcome> {
    const unknown: Action =
      kind === "push" ? { kind: "write", value: "there" } : { kind: "delete", existed: true };
    const before = this.state;
    this.isBusy = true;
    this.version++;
    this.state = "unsure";
    const start = performance.now();
    try {
      const outcome = await work();
      if (outcome === undefined) {
        if (kind === "push") this.mayBeDeleted = false;
        else this.mayBePushed = false;
        this.history.push({ action: unknown, start, end: Infinity, unknown: true });
      } else if (outcome === "nothing") this.state = before;
      else {
        this.state = kind === "push" ? "there" : "gone";
        this.history.push({ action: outcome, start, end: performance.now() });
      }
      return outcome;
    } finally {
      this.version++;
      this.isBusy = false;
    }
  }

  /** Begins to look; what is returned says afterwards what must have been seen, if that is certain. */
  watch(): () => State {
    const { version, state } = this;
    return () => (this.version === version ? state : "unsure");
  }

  get path(): string {
    const { repository, digest, image } = this.plan;
    return `/v2/${repository}/${image === undefined ? "blobs" : "manifests"}/${digest}`;
  }
}

export function newBytes(seed: number, size: number): Bytes {
  return { digest: sha256(bytesOf(seed, size)), size, seed };
}

export function contentOf({ seed, size }: Bytes): Uint8Array<ArrayBuffer> {
  return bytesOf(seed, size);
}
