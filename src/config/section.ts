import { resolve as absolute } from "node:path";
import type { Parsed } from "./parsed.ts";
import type { Findings, Settings, Source } from "./problem.ts";
import { isMasked, readPemFile, readSecretFile, type PemFile, type Secret } from "./secret.ts";

/** What a section of the configuration is resolved with: who set its keys, the files they name, its problems. */
export class Section {
  readonly path: string;
  readonly #settings: Settings;
  readonly #cwd: string;
  readonly #findings: Findings;

  constructor(path: string, settings: Settings, cwd: string, findings: Findings) {
    this.path = path;
    this.#settings = settings;
    this.#cwd = cwd;
    this.#findings = findings;
  }

  /** Somebody set a key of it. */
  get written(): boolean {
    return this.#first() !== undefined;
  }

  has(name: string): boolean {
    return this.#settings.has(`${this.path}.${name}`);
  }

  /** A problem of one of its keys, or of the whole where no name is given; said where the key, else the section, was set. */
  problem(name: string, what: string): void {
    const key = name === "" ? this.path : `${this.path}.${name}`;
    const source = this.#settings.get(key)?.source ?? this.#first();
    this.#findings.problem(source ?? { kind: "file", name: "configuration" }, key, what);
  }

  /** The value of a parsed key; a problem of its own otherwise. */
  take<T>(name: string, parsed: Parsed<T>): T | undefined {
    if ("value" in parsed) return parsed.value;
    this.problem(name, parsed.problem);
    return undefined;
  }

  /** The value of a key that the section cannot be without. */
  required<T>(name: string, value: T | undefined, remedy: string): T | undefined {
    if (value === undefined) this.problem(name, `it is not set; ${remedy}`);
    return value;
  }

  /** The secret of the key `name` or of the file that `<name>File` names. */
  secret(name: string, written: string | undefined, file: string | undefined): Secret | undefined {
    const fileKey = `${name}File`;
    if (written !== undefined && file !== undefined) {
      const at = this.#settings.get(`${this.path}.${name}`)?.source.name ?? "elsewhere";
      this.problem(fileKey, `${this.path}.${name} is set too (${at}); set only one of the two`);
      return undefined;
    }
    if (file !== undefined) {
      const path = absolute(this.#cwd, file);
      const text = this.take(fileKey, readSecretFile(path));
      return text === undefined ? undefined : { text, file: path };
    }
    if (written === undefined) return undefined;
    if (!isMasked(written)) return { text: written, file: undefined };
    const what =
      "it is what `holdfast config print` shows in place of the secret; write the secret itself";
    this.problem(name, what);
    return undefined;
  }

  pem(
    name: string,
    file: string | undefined,
    kind: "CERTIFICATE" | "PRIVATE KEY" = "CERTIFICATE",
  ): PemFile | undefined {
    if (file === undefined) return undefined;
    const path = absolute(this.#cwd, file);
    const text = this.take(name, readPemFile(path, kind));
    return text === undefined ? undefined : { text, file: path };
  }

  /** One of two keys that belong together is set without the other. */
  half(one: string, other: string, isOne: boolean, isOther: boolean): boolean {
    if (isOne === isOther) return false;
    const [has, lacks] = isOne ? [one, other] : [other, one];
    const name = this.has(has) ? has : `${has}File`;
    this.problem(name, `it is set without ${this.path}.${lacks}; set both, or none`);
    return true;
  }

  #first(): Source | undefined {
    for (const [key, { source }] of this.#settings)
      if (key.startsWith(`${this.path}.`)) return source;
    return undefined;
  }
}
