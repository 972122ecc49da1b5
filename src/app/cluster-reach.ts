/**
 * Whether the nodes that live can be asked. One that beats in etcd and does not answer on its peer port gets no copies
 * and gives none: a clock, a secret or a firewall, of which nothing else would tell.
 */
import { Beat } from "../base/beat.ts";
import type { Logger } from "../base/log.ts";
import type { Membership } from "../cluster/membership/index.ts";
import type { Nodes } from "../cluster/node.ts";

const LOOK_MS = 5000;
/** A request that failed makes its node count as down for a moment, which is just what is to be told of. */
const MOMENT_MS = 2000;
/** So often it is said again. */
const SAID_MS = 60_000;

export class Reach implements AsyncDisposable {
  readonly #membership: Pick<Membership, "obstacles">;
  readonly #nodes: Nodes;
  readonly #log: Logger;
  readonly #ending = new AbortController();
  readonly #beat: Beat;
  readonly #durable: number;
  readonly #listeners = new Set<(reason: string | undefined) => void>();
  #found: readonly string[] = [];
  #cutOff: string | undefined;
  #said = "";
  #saidAt = -Infinity;

  /** `durable`: copies that a push waits for. */
  constructor(
    membership: Pick<Membership, "obstacles">,
    nodes: Nodes,
    durable: number,
    log: Logger,
  ) {
    this.#durable = durable;
    this.#membership = membership;
    this.#nodes = nodes;
    this.#log = log;
    this.#beat = new Beat(LOOK_MS, () => this.#look());
  }

  /** What is in the way at present, a sentence each. */
  obstacles(): readonly string[] {
    return this.#found;
  }

  async #look(): Promise<void> {
    const { signal } = this.#ending;
    const found = await this.#membership.obstacles(signal, this.#others());
    // Two looks in a row, and still alive: a node that has just died is none of it.
    const live = new Set(this.#others().map(({ name }) => name));
    const before = this.#found;
    this.#found = found.filter((sentence) => live.has(sentence.split(":", 1)[0] ?? ""));
    const isCertain = before.length > 0 && this.#found.length > 0;
    if (isCertain && !signal.aborted) this.#say();
    this.#setCutOff(isCertain ? this.#lack() : undefined);
  }

  /** Called when this node comes to be of no use because too few others answer it, with a sentence, and when it is again. */
  onCutOff(listener: (reason: string | undefined) => void): void {
    this.#listeners.add(listener);
    if (this.#cutOff !== undefined) listener(this.#cutOff);
  }

  /** Why no push can be taken, if that is so. */
  #lack(): string | undefined {
    const answering = 1 + this.#others().length - this.#found.length;
    const needed = Math.min(this.#durable, this.#nodes.all().length);
    return answering < needed
      ? `a push needs ${needed} nodes and only ${answering} answer here: ${this.#found.join("; ")}`
      : undefined;
  }

  #setCutOff(reason: string | undefined): void {
    if (reason === this.#cutOff) return;
    this.#cutOff = reason;
    for (const listener of this.#listeners) listener(reason);
  }

  #others() {
    const { self } = this.#nodes;
    const since = performance.now() - MOMENT_MS;
    return this.#nodes
      .all()
      .filter(({ name, downSince }) => name !== self && (downSince ?? Infinity) > since);
  }

  #say(): void {
    const text = this.#found.join("; ");
    const now = performance.now();
    if (text === this.#said && now - this.#saidAt < SAID_MS) return;
    this.#said = text;
    this.#saidAt = now;
    this.#log.error(`nodes that live do not answer this one: ${text}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#beat.stop(LOOK_MS);
  }
}
