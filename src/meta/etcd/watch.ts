/**
 * Following the commits. A stream follows the records below its prefix and the heartbeat behind them: one that comes
 * through the same watcher shows that the stream lives, and that nothing before it is still to come.
 */
import { type Change, type MetaStore, RevisionCompacted, StoreUnavailable } from "../port.ts";
import { LineReader, type Step, StepReader } from "./changes.ts";
import type { EtcdClient, OpenStream } from "./client.ts";
import { meaningOf, permissionDenied, TokenRefused, Unanswered } from "./failures.ts";
import { ATTEMPT_MS } from "./insist.ts";
import type { Space } from "./space.ts";
import type { TruthReader } from "./truth.ts";
import type { Txn, WatchAnswer } from "./wire.ts";

/** After so long a silence a watcher writes the heartbeat itself, and then must hear it. */
const SILENCE_MS = 2000;
const SPREAD_MS = 500;
const ECHO_MS = 1500;
const REOPEN_MS = 100;

type WatchOptions = Parameters<MetaStore["watch"]>[0];

export class Watcher {
  readonly #client: EtcdClient;
  readonly #truth: TruthReader;
  readonly #space: Space;
  readonly #closed: AbortSignal;

  /** Watches end with `StoreUnavailable` when `closed` aborts. */
  constructor(client: EtcdClient, truth: TruthReader, space: Space, closed: AbortSignal) {
    this.#client = client;
    this.#truth = truth;
    this.#space = space;
    this.#closed = closed;
  }

  async *watch({ prefix, after, signal }: WatchOptions): AsyncGenerator<Change, void, void> {
    let seen = this.#space.position(after);
    if (seen === undefined)
      throw new RevisionCompacted(`the changes after ${after} were of a store before this one`);
    let refused = 0;
    let isFirst = true;
    while (!signal.aborted) {
      if (this.#closed.aborted) throw new StoreUnavailable("the metadata store was closed");
      try {
        // etcd was away, and may have come back as it was long ago: it would wait for `seen` as for any future.
        if (!isFirst) await this.#requireSame();
        isFirst = false;
        const ending = AbortSignal.any([signal, this.#closed]);
        const stream = new Stream(this.#client, this.#space, prefix, ending);
        for await (const { raw, changes } of stream.steps(seen)) {
          refused = 0;
          if (raw <= seen) continue;
          seen = raw;
          this.#truth.known.raise(raw);
          if (changes.length === 0) continue;
          yield { revision: this.#space.revision(raw), changes };
          if (signal.aborted) return;
        }
      } catch (error) {
        if (signal.aborted) return;
        // etcd gives the same answer to a user without rights and to a token that has expired.
        if (error instanceof TokenRefused && refused++ === 0) this.#client.forgetToken();
        else if (error instanceof TokenRefused) throw permissionDenied();
        else if (!(error instanceof Unanswered) && !this.#closed.aborted) throw error;
      }
      if (!signal.aborted && !this.#closed.aborted) await Bun.sleep(REOPEN_MS);
    }
  }

  async #requireSame(): Promise<void> {
    const { responses = [] } = await this.#truth.confirmed([this.#space.readRecord], ATTEMPT_MS);
    this.#space.requireRecord(responses[0]?.response_range?.kvs?.[0]?.value);
  }
}

/** One answer of one member, until it breaks. */
class Stream {
  readonly #client: EtcdClient;
  readonly #space: Space;
  readonly #prefix: string;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #abort = (): void => this.#stop.abort();

  constructor(client: EtcdClient, space: Space, prefix: string, signal: AbortSignal) {
    this.#client = client;
    this.#space = space;
    this.#prefix = prefix;
    this.#signal = signal;
    signal.addEventListener("abort", this.#abort);
    if (signal.aborted) this.#abort();
  }

  /** What happened at `from` and later: the caller knows `from`, and etcd says so when it is gone. */
  async *steps(from: number): AsyncGenerator<Step, void, void> {
    try {
      const [key, range_end] = this.#space.followed(this.#prefix);
      const create_request = { key, range_end, start_revision: String(from), fragment: true };
      const opened = await this.#client.open(
        "/v3/watch",
        { create_request },
        this.#stop,
        ATTEMPT_MS,
      );
      const steps = new StepReader(this.#space);
      for await (const answer of this.#answers(opened)) yield* steps.push(answer);
    } finally {
      this.#signal.removeEventListener("abort", this.#abort);
      this.#abort();
    }
  }

  async *#answers({ endpoint, body }: OpenStream): AsyncGenerator<WatchAnswer, void, void> {
    const reader = body.getReader();
    const lines = new LineReader();
    for (;;) {
      const chunk = await this.#read(reader, endpoint);
      for (const line of lines.push(chunk)) {
        const { result, error } = JSON.parse(line) as {
          readonly result?: WatchAnswer;
          readonly error?: { readonly message?: string };
        };
        if (result === undefined) {
          this.#client.leave(endpoint);
          throw meaningOf(endpoint, error?.message ?? line);
        }
        if (result.canceled === true) throw this.#canceled(endpoint, result);
        yield result;
      }
    }
  }

  #canceled(
    endpoint: string,
    { compact_revision, cancel_reason = "no reason" }: WatchAnswer,
  ): Error {
    if (compact_revision !== undefined)
      return new RevisionCompacted(
        `the changes are gone: etcd's history starts after ${this.#space.revision(compact_revision)}`,
      );
    if (/permission denied/.test(cancel_reason)) return new TokenRefused(cancel_reason);
    this.#client.leave(endpoint);
    return meaningOf(endpoint, `the watch was ended: ${cancel_reason}`);
  }

  async #read(
    reader: { read(): Promise<{ value?: Uint8Array | undefined }> },
    endpoint: string,
  ): Promise<Uint8Array> {
    // Only while it is waited for: a slow consumer is no silence.
    const silence = SILENCE_MS + Math.random() * SPREAD_MS;
    const beat = setTimeout(() => void this.#beat(), silence);
    const cut = setTimeout(this.#abort, silence + ECHO_MS);
    try {
      const { value } = await reader.read();
      if (value !== undefined) return value;
    } catch (cause) {
      this.#client.leave(endpoint);
      throw new Unanswered(`the watch at ${endpoint} broke`, { mayHappen: false, cause });
    } finally {
      clearTimeout(beat);
      clearTimeout(cut);
    }
    this.#client.leave(endpoint);
    throw new Unanswered(`the watch at ${endpoint} ended`, { mayHappen: false });
  }

  async #beat(): Promise<void> {
    const beat: Txn = {
      // Where a store has been removed, no heartbeat is to be in the way of the next.
      compare: [this.#space.sameStore],
      success: [{ request_put: { key: this.#space.heartbeat(this.#prefix), value: "" } }],
    };
    // If it cannot be written it is not heard, and that is what counts.
    await this.#client.call("/v3/kv/txn", beat, ATTEMPT_MS).catch(() => undefined);
  }
}
