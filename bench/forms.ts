/** Figures of the solo bench, run for Holdfast in two forms: one node, and all of its nodes in turn. */
import type { Bench, Figure, Line, Target } from "./bench.ts";
import type { ServerName } from "./servers.ts";
import type { Bound } from "./targets.ts";
import { ratio, target } from "./targets.ts";

const forms = {
  holdfast: "one node",
  "two nodes": "two nodes",
  "three nodes": "three nodes",
} as const satisfies Partial<Record<ServerName, string>>;

/** The same bound for all forms that the line has. */
export const bothForms = (line: Line, what: string, bound: Bound): Target[] =>
  (Object.keys(forms) as (keyof typeof forms)[]).flatMap((name) => {
    const value = ratio(line, (summary) => summary.value, name);
    return target(line.figure, `${line.name}: ${what}, ${forms[name]}`, value, bound);
  });

export const measure = (
  id: number,
  title: string,
  lines: (bench: Bench) => Promise<readonly Line[]>,
  /** Of the lines that have a target. */
  targets: (lines: readonly Line[]) => readonly Target[],
): Figure => ({
  id,
  title,
  run: async (bench) => {
    const found = await lines(bench);
    return { lines: found, targets: targets(found) };
  },
});
