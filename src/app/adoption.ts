/** Taking over what distribution left while the server runs: start, progress in the log, what stands in the way. */
import { describe, type Logger } from "../base/log.ts";
import { waited } from "../base/waited.ts";
import type { AdoptionProgress, Adopter } from "../registry/adopt.ts";
import type { Registry } from "../registry/registry.ts";
import type { ForeignPlace } from "./foreign-place.ts";
import { holdLease } from "./lease.ts";
import type { NodeStores } from "./node-stores.ts";

const REPORT_MS = 5000;
const RETRY_MS = 30_000;
/** So often a node looks whether the one that does the work has ended, or died. */
const LOOK_MS = 5000;

/** Works in the background until all is taken over, or until disposed of: the next start goes on from there. */
export function startAdoption(
  registry: Registry,
  stores: NodeStores,
  log: Logger,
): AsyncDisposable {
  const ending = new AbortController();
  const { adopter } = registry;
  const { foreign } = stores;
  const work =
    adopter && foreign && new Adoption(registry, adopter, foreign, stores, log).run(ending.signal);
  return {
    async [Symbol.asyncDispose]() {
      ending.abort();
      await work;
    },
  };
}

class Adoption {
  readonly #registry: Registry;
  readonly #adopter: Adopter;
  readonly #foreign: ForeignPlace;
  readonly #stores: NodeStores;
  readonly #log: Logger;
  #isTold = false;

  constructor(
    registry: Registry,
    adopter: Adopter,
    foreign: ForeignPlace,
    stores: NodeStores,
    log: Logger,
  ) {
    this.#registry = registry;
    this.#adopter = adopter;
    this.#foreign = foreign;
    this.#stores = stores;
    this.#log = log;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let pause = RETRY_MS;
      try {
        if (await this.#adopter.begin()) return;
        if (!(await this.#isOurs())) pause = LOOK_MS;
        else if (await this.#once(signal)) return;
      } catch (error) {
        if (!signal.aborted) {
          this.#log.error("taking over was cut short and is tried again", {
            error: describe(error),
          });
        }
      }
      await waited(pause, signal);
    }
  }

  /** Of several nodes one does it. Two at once would do no harm, only the same. */
  async #isOurs(): Promise<boolean> {
    const { meta, presence } = this.#stores;
    return presence === undefined || holdLease(meta, presence, "adoption");
  }

  async #once(signal: AbortSignal): Promise<boolean> {
    const log = this.#log;
    this.#tell();
    const reporter = new Reporter(log);
    const complete = await this.#adopter.run(signal, {
      progress: (progress) => reporter.show(progress),
      failed: (repository, error) =>
        log.error("a repository could not be taken over; it is tried again", {
          repository,
          error: describe(error),
        }),
    });
    if (!complete) return false;
    const obstacle = this.#foreign.obstacle();
    if (obstacle !== undefined) {
      log.error(obstacle);
      return false;
    }
    await this.#adopter.complete();
    await this.#report();
    return true;
  }

  #tell(): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const { where, caution } = this.#foreign;
    this.#log.info("taking over what distribution left; pulls are answered meanwhile", { where });
    if (caution !== undefined) this.#log.warn(caution);
  }

  async #report(): Promise<void> {
    const status = await this.#registry.adoptionStatus();
    if (status === undefined) return;
    const { repositories, manifests, tags, layers, flaws, startedAt, endedAt = startedAt } = status;
    const seconds = Math.round((endedAt - startedAt) / 100) / 10;
    const found = { repositories, manifests, tags, layers, seconds };
    const problems = Object.values(flaws.counts).reduce((sum, count) => sum + count, 0);
    for (const flaw of flaws.examples) {
      this.#log.warn("left out of what was taken over", { ...flaw });
    }
    if (problems === 0) this.#log.info("what distribution left is taken over", found);
    else {
      this.#log.warn("what distribution left is taken over, but for some things in it", {
        ...found,
        problems,
        ...flaws.counts,
      });
    }
  }
}

/** A line every few seconds, with the time that is left as far as the past tells. */
class Reporter {
  readonly #log: Logger;
  readonly #startedAt = performance.now();
  #shownAt = performance.now();
  #first: number | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  show({ phase, done, total }: AdoptionProgress): void {
    if (phase === "indexing") this.#first ??= performance.now();
    const now = performance.now();
    if (now - this.#shownAt < REPORT_MS) return;
    this.#shownAt = now;
    const elapsed = now - (this.#first ?? this.#startedAt);
    const left = done > 0 && total > 0 ? (elapsed / done) * Math.max(0, total - done) : undefined;
    this.#log.info(phase === "listing" ? "listing repositories" : "taking over repositories", {
      done,
      ...(total > 0 ? { total } : {}),
      ...(left === undefined ? {} : { secondsLeft: Math.round(left / 1000) }),
    });
  }
}
