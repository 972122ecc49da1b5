/** Requests about the shadows of one upload. */
import type { Locator } from "../../blobs/port.ts";
import type { Algorithm } from "../../oci/digest.ts";
import type { NodeState } from "../node.ts";
import type { Others } from "./others.ts";
import type { Chunk, ShadowState } from "./shadow.ts";
import { shadowOf } from "./shadow-names.ts";

/** To rename and fsync; to read all again where the proof is lost. */
const COMMIT_MS = 60_000;
const DISCARD_MS = 2000;
/** A request that streams has other limits. */
const NO_LIMIT_MS = 24 * 3_600_000;

export interface Append {
  /** Bytes that the shadow must hold already; 0 begins it anew. */
  readonly offset: number;
  readonly algorithm: Algorithm;
  readonly body: ReadableStream<Chunk>;
  readonly signal: AbortSignal;
}

export class ShadowCalls {
  readonly #others: Others;
  readonly #path: string;

  constructor(others: Others, id: string) {
    this.#others = others;
    this.#path = `/v1/uploads/${shadowOf(id)}`;
  }

  /** Resolves when the node has the body durably. Throws why not. */
  async append(node: NodeState, { offset, algorithm, body, signal }: Append): Promise<ShadowState> {
    const path = `${this.#path}?offset=${offset}&algorithm=${algorithm}`;
    const request = { method: "PATCH", body, timeoutMs: NO_LIMIT_MS, signal } as const;
    const response = await this.#others.fetch(node, path, request);
    const text = await response.text();
    if (!response.ok) throw new Error(`it answered ${response.status} ${text}`);
    return JSON.parse(text) as ShadowState;
  }

  /** Makes a shadow of this size the blob of this locator. */
  async commit(
    node: NodeState,
    locator: Locator,
    size: number,
    signal: AbortSignal,
  ): Promise<void> {
    const path = `${this.#path}/commit?locator=${encodeURIComponent(locator)}&size=${size}`;
    await this.#others.order(node, path, { method: "POST", timeoutMs: COMMIT_MS, signal });
  }

  /** Removes the shadows that can be reached; what is left is purged by age. */
  async discard(): Promise<void> {
    await Promise.allSettled(
      this.#others
        .all()
        .filter(({ isLive }) => isLive)
        .map((node) =>
          this.#others.order(node, this.#path, { method: "DELETE", timeoutMs: DISCARD_MS }),
        ),
    );
  }
}
