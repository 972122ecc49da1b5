/** Bodies being received: how many at once, and how slowly. */
import type { Config } from "../config/config.ts";
import { OciError } from "../oci/errors.ts";
import type { RequestBody } from "./body.ts";
import type { HttpMetrics } from "./metrics.ts";
import type { Peer } from "./server.ts";

/** For how many times that time a body may have brought its bytes ahead: parallel ones share a line by turns. */
const AHEAD_STEPS = 8;
/** The longest that a socket can count. */
const IDLE_MAX_SECONDS = 255;

export class UploadGate {
  readonly #max: number;
  readonly #idleSeconds: number;
  /** Bytes for which a body is given that time. */
  readonly #step: number;
  readonly #metrics: HttpMetrics;
  #active = 0;

  constructor({ limits }: Config, metrics: HttpMetrics) {
    this.#max = limits.concurrentUploads;
    this.#idleSeconds = Math.min(IDLE_MAX_SECONDS, Math.ceil(limits.uploadIdle / 1000));
    this.#step = limits.uploadRate * this.#idleSeconds;
    this.#metrics = metrics;
  }

  /** Throws TOOMANYREQUESTS before a byte of the body is read. */
  async pass(body: RequestBody, peer: Peer, run: () => Promise<Response>): Promise<Response> {
    if (body.length === 0) {
      // The end of an upload may have to read all of it again.
      peer.setIdle(IDLE_MAX_SECONDS);
      return run();
    }
    if (this.#active >= this.#max) {
      throw new OciError("TOOMANYREQUESTS", "too many uploads at once (limits.concurrentUploads)", {
        headers: { "Retry-After": "1" },
      });
    }
    this.#active++;
    this.#metrics.uploadBegin();
    this.#limitPace(body, peer);
    try {
      return await run();
    } finally {
      this.#active--;
      this.#metrics.uploadEnd(body.received);
    }
  }

  /** A socket counts from when it was last told, not from the last byte: it is told once enough bytes came. */
  #limitPace(body: RequestBody, peer: Peer): void {
    let due = this.#step;
    peer.setIdle(this.#idleSeconds);
    body.watch((complete) => {
      // After the last byte the work is ours.
      if (complete) return peer.setIdle(IDLE_MAX_SECONDS);
      if (body.received < due) return;
      due = Math.max(due, body.received - AHEAD_STEPS * this.#step) + this.#step;
      peer.setIdle(this.#idleSeconds);
    });
  }
}
