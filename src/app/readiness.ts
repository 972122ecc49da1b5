/** Why a worker should not be sent requests, kept current so that asking costs nothing. */
import type { MetaStore } from "../meta/port.ts";
import type { Readiness } from "../http/server.ts";
import type { BytesCheck } from "./bytes-check.ts";

const CHECK_MS = 2000;
/** A store that answers later than this is as good as gone. */
const PATIENCE_MS = 5000;

export class ReadinessWatch {
  readonly #stores: { readonly meta: MetaStore; readonly bytes: BytesCheck };
  readonly #timer: ReturnType<typeof setInterval>;
  #reasons: readonly string[] = ["the stores have not been checked yet"];
  #checking = false;
  #leaving = false;

  constructor(stores: { readonly meta: MetaStore; readonly bytes: BytesCheck }) {
    this.#stores = stores;
    this.#timer = setInterval(() => void this.check(), CHECK_MS);
  }

  now(): Readiness {
    const reasons = this.#leaving ? ["the server is shutting down"] : this.#reasons;
    return { ready: reasons.length === 0, reasons };
  }

  /** From now on never ready: the worker is about to end. */
  leave(): void {
    this.#leaving = true;
  }

  /** Asks the stores. Never throws: what they say is a reason. */
  async check(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    const { meta, bytes } = this.#stores;
    const reasons = await Promise.all([
      // An empty commit writes nothing, but goes the whole way to the writer and back.
      reason("the metadata store", async () => {
        await meta.commit({});
        return undefined;
      }),
      reason(bytes.name, () => bytes.ask()),
    ]);
    this.#reasons = reasons.filter((text) => text !== undefined);
    this.#checking = false;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

async function reason(
  what: string,
  ask: () => Promise<string | undefined>,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const limit = setTimeout(
    () => resolve(`${what} has not answered for ${PATIENCE_MS / 1000} s`),
    PATIENCE_MS,
  );
  try {
    return await Promise.race([ask(), promise]);
  } catch (error) {
    return `${what} does not work: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    clearTimeout(limit);
  }
}
