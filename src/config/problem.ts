/** The configuration cannot be used. `message` has one sentence a line, `problems` the same as a list. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** Where a value was written. */
export interface Source {
  readonly kind: "file" | "variable" | "flag" | "distribution";
  /** As shown to the operator: `holdfast.yml:3`, `HOLDFAST_DATA`, `--data`. */
  readonly name: string;
}

/** One value, and who set it. */
export interface Setting {
  readonly value: unknown;
  readonly source: Source;
}

/** Values by key path, such as `log.level`. */
export type Settings = Map<string, Setting>;

/** What reading one source found. `problems` stop the start, `notices` are to be logged once; both are sentences. */
export class Findings {
  readonly settings: Settings = new Map();
  readonly problems: string[] = [];
  readonly notices: string[] = [];

  /** `what` says what is wrong and, after a semicolon, what to do. */
  problem(source: Source, key: string, what: string): void {
    this.problems.push(`${source.name}: ${key === "" ? "" : `${key}: `}${what}.`);
  }

  notice(source: Source, what: string): void {
    this.notices.push(`${source.name}: ${what}.`);
  }
}
