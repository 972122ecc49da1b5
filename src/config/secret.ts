import { readFileSync } from "node:fs";
import type { Parsed } from "./parsed.ts";

/** The text of a file, or a secret that may come from one. The text of a secret is never printed or logged. */
export interface Secret {
  /** As written, or the content of the file without final line breaks; not empty. */
  readonly text: string;
  /** Absolute path; `undefined`: written in the configuration itself. */
  readonly file: string | undefined;
}

/** A PEM file as it was read at the start. */
export interface PemFile {
  readonly text: string;
  /** Absolute path. */
  readonly file: string;
}

const marker = /^\(secret, \d+ characters?\)$/;

/** What is shown of a secret. */
export function masked(secret: string): string {
  return `(secret, ${secret.length} character${secret.length === 1 ? "" : "s"})`;
}

/** Somebody used what `masked` wrote as the secret itself. */
export function isMasked(text: string): boolean {
  return marker.test(text);
}

/** The content of a file that holds one secret, without the line breaks at its end. */
export function readSecretFile(file: string): Parsed<string> {
  const content = read(file);
  if ("problem" in content) return content;
  const value = content.value.replace(/[\r\n]+$/, "");
  if (value.trim() === "") return { problem: `${file} is empty; write the secret into it` };
  if (/[\r\n\0]/.test(value))
    return { problem: `${file} holds several lines; write the secret and nothing else into it` };
  return { value };
}

/** The content of a PEM file; `kind` is what it has to hold. */
export function readPemFile(file: string, kind: "CERTIFICATE" | "PRIVATE KEY"): Parsed<string> {
  const content = read(file);
  if ("problem" in content || new RegExp(`-----BEGIN [A-Z ]*${kind}-----`).test(content.value))
    return content;
  return { problem: `${file} holds no ${kind.toLowerCase()} in PEM; name a file that does` };
}

function read(file: string): Parsed<string> {
  try {
    return { value: readFileSync(file, "utf8") };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    return {
      problem: `${file} cannot be read (${code}); name a file that is there and that this user may read`,
    };
  }
}
