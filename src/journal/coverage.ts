/** Which runs of commits follow one another without a gap. */
import type { Revision } from "../meta/port.ts";

export interface Run {
  readonly after: Revision;
  readonly last: Revision;
}

export interface Chain<T extends Run> {
  /** As few as will do, in order; one may begin before the end of the one before. */
  readonly runs: readonly T[];
  /** Every commit after the start up to this one is in them. */
  readonly end: Revision;
}

/** The longest chain that begins at `start`. */
export function chainFrom<T extends Run>(start: Revision, runs: readonly T[]): Chain<T> {
  const sorted = [...runs].sort((a, b) => a.after - b.after);
  const chain: T[] = [];
  let end = start;
  let best: T | undefined;
  let next = 0;
  for (;;) {
    for (let run = sorted[next]; run !== undefined && run.after <= end; run = sorted[++next])
      if (best === undefined || run.last > best.last) best = run;
    if (best === undefined || best.last <= end) return { runs: chain, end };
    chain.push(best);
    end = best.last;
  }
}
