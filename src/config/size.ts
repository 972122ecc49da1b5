import { shown, type Parsed } from "./parsed.ts";

/** A number of bytes; always a whole number ≥ 0. */
export type Bytes = number;

const exponents = ["", "k", "m", "g", "t"];
const form = /^(\d+(?:\.\d+)?)\s*(?:([kmgt]?)(i?)b)?$/i;

/** Reads a plain number of bytes, or one with a unit: `KB`, `MB`, `GB`, `TB` (1000) and `KiB` … `TiB` (1024). */
export function parseSize(written: string | number): Parsed<Bytes> {
  const match = form.exec(String(written).trim());
  const bytes = match ? amount(match) : Number.NaN;
  return Number.isSafeInteger(bytes)
    ? { value: bytes }
    : {
        problem: `${shown(written)} is not a size; write a number of bytes, or one with a unit, such as 4194304, 4MiB or 4MB`,
      };
}

function amount([, number, prefix = "", binary = ""]: RegExpExecArray): number {
  const exponent = exponents.indexOf(prefix.toLowerCase());
  if (binary !== "" && exponent === 0) return Number.NaN;
  return Math.round(Number(number) * (binary === "" ? 1000 : 1024) ** exponent);
}
