/** Work that recurs in the background, once for the whole installation: it runs in the parent. */
import { describe, type Logger } from "../base/log.ts";
import { waited } from "../base/waited.ts";

export interface Job {
  readonly name: string;
  /** Milliseconds from the end of one run to the start of the next; the first starts at once. */
  readonly everyMs: number;
  /** Ends early, without an error, when `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/** Runs each job by itself until disposed of, which waits for runs under way. A failed run is logged and tried again next time. */
export function startJobs(jobs: readonly Job[], log: Logger): AsyncDisposable {
  const ending = new AbortController();
  const loops = jobs.map((job) => repeat(job, log, ending.signal));
  return {
    async [Symbol.asyncDispose]() {
      ending.abort();
      await Promise.all(loops);
    },
  };
}

async function repeat(job: Job, log: Logger, signal: AbortSignal): Promise<void> {
  do {
    try {
      await job.run(signal);
    } catch (error) {
      if (!signal.aborted)
        log.error("a background job failed", { job: job.name, error: describe(error) });
    }
  } while (await waited(job.everyMs, signal));
}
