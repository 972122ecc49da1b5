/** Progress of long work on the standard error: a bar on a terminal, else a line now and then. */
import { writeSync } from "node:fs";
import { Presets, SingleBar } from "cli-progress";
import type { RestoreProgress } from "../journal/index.ts";

/** Milliseconds between lines where there is no terminal. */
const LINE_MS = 5000;

export interface Progress {
  /** `what`: a few words that stand beside it, such as `120 blobs`. */
  show(done: number, total: number, what: string): void;
  end(): void;
}

export function openProgress(): Progress {
  return process.stderr.isTTY ? new BarProgress() : new LineProgress();
}

class BarProgress implements Progress {
  readonly #bar = new SingleBar(
    { format: "{bar} {percentage}% | {what} | {duration_formatted}, {eta_formatted} left" },
    Presets.shades_classic,
  );
  #started = false;

  show(done: number, total: number, what: string): void {
    if (!this.#started) this.#bar.start(total, 0, { what });
    this.#started = true;
    this.#bar.update(done, { what });
  }

  end(): void {
    if (this.#started) this.#bar.stop();
    this.#started = false;
  }
}

class LineProgress implements Progress {
  #at = performance.now();

  show(done: number, total: number, what: string): void {
    const now = performance.now();
    if (now - this.#at < LINE_MS && done !== total) return;
    this.#at = now;
    const percent = total === 0 ? 100 : Math.floor((done / total) * 100);
    writeSync(2, `${percent}%, ${what}\n`);
  }

  end(): void {}
}

/** Shows how far `work` has come with a journal; resolves to what that does. */
export async function showingJournal<T>(
  work: (progress: (read: RestoreProgress) => void) => Promise<T>,
): Promise<T> {
  const progress = openProgress();
  try {
    return await work(({ done, total, entries, commits }) =>
      progress.show(done, total, `${entries} records and ${commits} commits read`),
    );
  } finally {
    progress.end();
  }
}
