/** Bytes of small blobs on their way to each node, nobody waiting for most of them: a slow node's are bounded. */
import type { NodeState } from "../node.ts";
import type { Targets } from "./others.ts";

/** Past so many bytes or blobs, a node is sent a blob only where it is needed; it comes by the rest itself. */
const BYTES_MAX = 16 << 20;
const BLOBS_MAX = 256;

interface Waiting {
  bytes: number;
  blobs: number;
}

export class Backlog {
  readonly #waiting = new Map<string, Waiting>();

  /** The same targets, those that are behind asked only in place of others. */
  without({ first, further, wanted }: Targets, size: number): Targets {
    const isBehind = ({ name }: NodeState): boolean => {
      const { bytes, blobs } = this.#waiting.get(name) ?? { bytes: 0, blobs: 0 };
      return blobs > 0 && (bytes + size > BYTES_MAX || blobs >= BLOBS_MAX);
    };
    const behind = first.filter(isBehind);
    if (behind.length === 0) return { first, further, wanted };
    const prompt = first.filter((node) => !isBehind(node));
    // In the order of preference still: what others could take instead would be more copies than are wanted.
    return { first: prompt, further: [...behind, ...further], wanted };
  }

  async during(node: NodeState, size: number, task: () => Promise<void>): Promise<void> {
    const waiting = this.#waiting.get(node.name) ?? { bytes: 0, blobs: 0 };
    this.#waiting.set(node.name, waiting);
    waiting.bytes += size;
    waiting.blobs++;
    try {
      await task();
    } finally {
      waiting.bytes -= size;
      waiting.blobs--;
      if (waiting.blobs === 0) this.#waiting.delete(node.name);
    }
  }
}
