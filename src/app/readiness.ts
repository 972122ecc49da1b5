/** Why a worker should not be sent requests, kept current so that asking costs nothing. */
import type { MetaStore } from "../meta/port.ts";
import type { Readiness } from "../http/server.ts";
import type { BytesCheck } from "./bytes-check.ts";

const CHECK_MS = 2000;
/** A store that answers later than this is as good as gone. */
const PATIENCE_MS = 5000;

export class ReadinessWatch {
  readonly #checks: readonly Check[];
  readonly #timer: ReturnType<typeof setInterval>;
  #leaving = false;
  #cutOff: string | undefined;

  constructor({ meta, bytes }: { readonly meta: MetaStore; readonly bytes: BytesCheck }) {
    this.#checks = [
      new Check("the metadata store", async () => {
        // An empty commit writes nothing, but goes the whole way to the writer and back.
        await meta.commit({});
        return undefined;
      }),
      new Check(bytes.name, () => bytes.ask()),
    ];
    this.#timer = setInterval(() => void this.check(), CHECK_MS);
  }

  now(): Readiness {
    const reasons = this.#leaving
      ? ["the server is shutting down"]
      : [this.#cutOff, ...this.#checks.map(({ reason }) => reason)].filter(
          (text) => text !== undefined,
        );
    return { ready: reasons.length === 0, reasons };
  }

  /** Why it is of no use though its stores work; `undefined`: it is again. */
  cutOff(reason: string | undefined): void {
    this.#cutOff = reason;
  }

  /** From now on never ready: the worker is about to end. */
  leave(): void {
    this.#leaving = true;
  }

  /** Asks the stores. Never throws: what they say is a reason. */
  async check(): Promise<void> {
    await Promise.all(this.#checks.map((check) => check.run()));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** One store's answer: none waits for another's. */
class Check {
  readonly #what: string;
  readonly #ask: () => Promise<string | undefined>;
  #asking = false;
  #reason: string | undefined;

  constructor(what: string, ask: () => Promise<string | undefined>) {
    this.#what = what;
    this.#ask = ask;
    this.#reason = `${what} has not been checked yet`;
  }

  get reason(): string | undefined {
    return this.#reason;
  }

  async run(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    this.#reason = await answerOf(this.#what, this.#ask);
    this.#asking = false;
  }
}

async function answerOf(
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
