import { readText } from "./env.ts";
import type { Findings, Source } from "./problem.ts";

/** The flags that set a key: how they are written, and which key they set. */
export const configFlags = [
  { flag: "--listen", argument: "address", option: "listen", key: "listen", repeatable: true },
  { flag: "--data", argument: "directory", option: "data", key: "data", repeatable: false },
  { flag: "--workers", argument: "count", option: "workers", key: "workers", repeatable: false },
  {
    flag: "--log-level",
    argument: "level",
    option: "logLevel",
    key: "log.level",
    repeatable: false,
  },
  {
    flag: "--log-format",
    argument: "format",
    option: "logFormat",
    key: "log.format",
    repeatable: false,
  },
] as const;

/** A flag by the name that the command line parser gives it. */
export type FlagOption = (typeof configFlags)[number]["option"];

/** Flags as the command line parser gives them: by option name; a list for one that may be repeated. */
export type FlagValues = Readonly<Partial<Record<FlagOption, string | readonly string[]>>>;

/** Reads the flags that were given. */
export function readFlags(flags: FlagValues, findings: Findings): void {
  for (const { flag, option, key } of configFlags) {
    const given = flags[option];
    if (given === undefined) continue;
    const source: Source = { kind: "flag", name: flag };
    if (given === "")
      findings.problem(source, key, "it is empty; give it a value, or leave it out");
    else
      findings.settings.set(key, {
        value: typeof given === "string" ? readText(key, given) : given,
        source,
      });
  }
}
