/** Long work in the log: a line every few seconds. */
import type { Logger } from "../base/log.ts";
import type { RestoreProgress } from "../journal/index.ts";

const REPORT_MS = 5000;

export function progressLog(log: Logger): (progress: RestoreProgress) => void {
  const began = performance.now();
  let shown = began;
  return ({ done, total, entries, commits }) => {
    const now = performance.now();
    if (now - shown < REPORT_MS) return;
    shown = now;
    const percent = total === 0 ? 0 : Math.floor((done / total) * 100);
    const left = done === 0 ? undefined : Math.round(((now - began) / done) * (total - done));
    log.info("rebuilding the metadata", {
      percent,
      entries,
      commits,
      ...(left === undefined ? {} : { secondsLeft: Math.round(left / 1000) }),
    });
  };
}
