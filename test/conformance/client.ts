import { encodeRequest, readReply, type Reply, type Request } from "./message.ts";
import { Wire } from "./wire.ts";

const CONNECTIONS = 4;
const TIMEOUT_MS = 30_000;

/**
 * A plain HTTP/1.1 client for one server. Requests take turns on a few kept connections, so that with
 * several workers one worker has to see what another has acknowledged. Redirects are not followed.
 */
export class Client {
  readonly base: URL;
  readonly #idle: (Wire | undefined)[] = Array.from({ length: CONNECTIONS });
  #turn = 0;

  constructor(base: string) {
    this.base = new URL(base);
    if (this.base.protocol !== "http:") {
      throw new Error(`the suite speaks http only, not ${this.base.protocol}`);
    }
  }

  async send(request: Request): Promise<Reply> {
    const slot = this.#turn++ % CONNECTIONS;
    const kept = this.#idle[slot];
    this.#idle[slot] = undefined;
    if (kept?.usable === true) {
      return this.#exchange(kept, slot, request);
    }
    kept?.close();
    const port = Number(this.base.port === "" ? 80 : this.base.port);
    return this.#exchange(await Wire.open(this.base.hostname, port), slot, request);
  }

  close(): void {
    for (const wire of this.#idle.splice(0)) {
      wire?.close();
    }
  }

  async #exchange(wire: Wire, slot: number, request: Request): Promise<Reply> {
    let keep = false;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      wire.close();
    }, TIMEOUT_MS);
    try {
      wire.write(encodeRequest(request));
      const { reply, reusable } = await readReply(wire, request);
      keep = reusable;
      return reply;
    } catch (error) {
      const what = `${request.method} ${request.url.pathname}`;
      const why = late
        ? `no answer in ${TIMEOUT_MS} ms`
        : error instanceof Error
          ? error.message
          : String(error);
      throw new Error(`${what}: ${why}`, { cause: error });
    } finally {
      clearTimeout(timer);
      if (keep) {
        this.#idle[slot] = wire;
      } else {
        wire.close();
      }
    }
  }
}
