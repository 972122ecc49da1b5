/** The outcome of one check. `name` is its path: group, test, step, separated by `/`. */
export interface CheckResult {
  readonly name: string;
  readonly status: "pass" | "fail" | "skip";
  readonly detail?: string;
}

/** Thrown by a check when the registry declines something that the specification lets it decline. */
export class Declined extends Error {}

/** Collects results under a path. `only` limits what runs to the paths above and below it. */
export class Report {
  readonly results: CheckResult[];
  readonly #path: string;
  readonly #only: string | undefined;

  constructor(only?: string, path = "", results: CheckResult[] = []) {
    this.#only = only;
    this.#path = path;
    this.results = results;
  }

  /** Runs `body` with a report one level down. An error that escapes it is a failed check. */
  async group(name: string, body: (report: Report) => Promise<void>): Promise<void> {
    const path = this.#join(name);
    if (!this.#wanted(path)) {
      return;
    }
    try {
      await body(new Report(this.#only, path, this.results));
    } catch (error) {
      this.#add(path, error);
    }
  }

  /** Runs one check; true when it passed. */
  async check(name: string, body: () => Promise<void>): Promise<boolean> {
    const path = this.#join(name);
    if (!this.#wanted(path)) {
      return true;
    }
    try {
      await body();
    } catch (error) {
      this.#add(path, error);
      return false;
    }
    this.results.push({ name: path, status: "pass" });
    return true;
  }

  /** Records a check that could not run. */
  skip(name: string, detail: string): void {
    this.#add(this.#join(name), new Declined(detail));
  }

  #add(name: string, error: unknown): void {
    const status = error instanceof Declined ? "skip" : "fail";
    this.results.push({
      name,
      status,
      detail: error instanceof Error ? error.message : String(error),
    });
  }

  #join(name: string): string {
    return this.#path === "" ? name : `${this.#path}/${name}`;
  }

  #wanted(path: string): boolean {
    return this.#only === undefined || this.#only.startsWith(path) || path.startsWith(this.#only);
  }
}
