/** Bodies being received: how many at once, and how long one may stall. */
import type { Config } from "../config/config.ts";
import { OciError } from "../oci/errors.ts";
import type { RequestBody } from "./body.ts";
import type { HttpMetrics } from "./metrics.ts";
import type { Peer } from "./server.ts";

/** The longest that a socket can count. */
const IDLE_MAX_SECONDS = 255;

export class UploadGate {
  readonly #max: number;
  readonly #idleSeconds: number;
  readonly #metrics: HttpMetrics;
  #active = 0;

  /** Each worker takes its share of the limit: connections are spread evenly over them. */
  constructor({ limits, workers }: Config, metrics: HttpMetrics) {
    this.#max = Math.max(1, Math.ceil(limits.concurrentUploads / workers));
    this.#idleSeconds = Math.min(IDLE_MAX_SECONDS, Math.ceil(limits.uploadIdle / 1000));
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
    peer.setIdle(this.#idleSeconds);
    // A socket counts from when it was last told, not from the last byte; after that byte the work is ours.
    body.watch((complete) => peer.setIdle(complete ? IDLE_MAX_SECONDS : this.#idleSeconds));
    try {
      return await run();
    } finally {
      this.#active--;
      this.#metrics.uploadEnd(body.received);
    }
  }
}
