import type { Line, Summary, Target } from "./bench.ts";
import type { ServerName } from "./servers.ts";

export type Bound = { readonly atLeast: number } | { readonly atMost: number };

/** A target for a number; nothing when the number could not be had (no peer in this run). */
export const target = (
  figure: number,
  what: string,
  value: number | undefined,
  bound: Bound,
  unit = "×",
): Target[] => {
  if (value === undefined || Number.isNaN(value)) return [];
  const [sign, limit, ok] =
    "atLeast" in bound
      ? ["≥", bound.atLeast, value >= bound.atLeast]
      : ["≤", bound.atMost, value <= bound.atMost];
  const digits = value >= 100 ? 0 : 2;
  const wanted = `${sign} ${limit} ${unit}`;
  return [{ figure, what, wanted, measured: `${value.toFixed(digits)} ${unit}`, ok }];
};

/** Holdfast's number divided by distribution's; `name` for Holdfast in another form. */
export const ratio = (
  line: Line,
  of: (summary: Summary) => number | undefined = ({ value }) => value,
  name: ServerName = "holdfast",
): number | undefined => {
  const { [name]: holdfast, distribution } = line.servers;
  if (holdfast === undefined || distribution === undefined) return undefined;
  const [ours, theirs] = [of(holdfast), of(distribution)];
  return ours === undefined || theirs === undefined ? undefined : ours / theirs;
};
