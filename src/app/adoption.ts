/** Taking over a distribution directory while the server runs: start, progress in the log, what stands in the way. */
import { openDistributionLayout } from "../blobs/file/distribution-layout.ts";
import type { ForeignLayout } from "../blobs/foreign.ts";
import { describe, type Logger } from "../base/log.ts";
import type { AdoptionProgress } from "../registry/adopt.ts";
import type { Registry } from "../registry/registry.ts";
import { findForeignWriters, refusalOf } from "./adoption-writers.ts";
import { StartError } from "./start-error.ts";

const REPORT_MS = 5000;
const RETRY_MS = 30_000;

/** What lies in the data directory to be taken over. Throws `StartError` while another program writes there. */
export function openForeign(directory: string): ForeignLayout | undefined {
  let layout: ForeignLayout | undefined;
  try {
    layout = openDistributionLayout(directory);
  } catch (error) {
    throw new StartError(error instanceof Error ? error.message : String(error));
  }
  const writers = layout === undefined ? [] : findForeignWriters(directory);
  if (writers.length > 0) throw new StartError(refusalOf(directory, writers));
  return layout;
}

/** Works in the background until all is taken over, or until disposed of: the next start goes on from there. */
export function startAdoption(registry: Registry, directory: string, log: Logger): AsyncDisposable {
  const ending = new AbortController();
  const work = adopt(registry, directory, log, ending.signal);
  return {
    async [Symbol.asyncDispose]() {
      ending.abort();
      await work;
    },
  };
}

async function adopt(
  registry: Registry,
  directory: string,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const { adopter } = registry;
  if (adopter === undefined || (await adopter.begin())) return;
  log.info("taking over the distribution directory; pulls are answered meanwhile", {
    directory: `${directory}/docker/registry/v2`,
  });
  while (!signal.aborted) {
    try {
      if (await once(registry, directory, log, signal)) return;
    } catch (error) {
      if (!signal.aborted) {
        log.error("taking over was cut short and is tried again", { error: describe(error) });
      }
    }
    await waited(RETRY_MS, signal);
  }
}

async function once(
  { adopter, adoptionStatus }: Registry,
  directory: string,
  log: Logger,
  signal: AbortSignal,
): Promise<boolean> {
  const reporter = new Reporter(log);
  const complete = await adopter?.run(signal, {
    progress: (progress) => reporter.show(progress),
    failed: (repository, error) =>
      log.error("a repository could not be taken over; it is tried again", {
        repository,
        error: describe(error),
      }),
  });
  if (complete !== true) return false;
  const writers = findForeignWriters(directory);
  if (writers.length > 0) {
    log.error(refusalOf(directory, writers));
    return false;
  }
  await adopter?.complete();
  const status = await adoptionStatus();
  if (status === undefined) return true;
  const { repositories, manifests, tags, layers, flaws, startedAt, endedAt = startedAt } = status;
  const seconds = Math.round((endedAt - startedAt) / 100) / 10;
  const found = { repositories, manifests, tags, layers, seconds };
  const problems = Object.values(flaws.counts).reduce((sum, count) => sum + count, 0);
  for (const flaw of flaws.examples) {
    log.warn("left out of what was taken over", { ...flaw });
  }
  if (problems === 0) log.info("the distribution directory is taken over", found);
  else {
    log.warn("the distribution directory is taken over, but for some things in it", {
      ...found,
      problems,
      ...flaws.counts,
    });
  }
  return true;
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

function waited(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
