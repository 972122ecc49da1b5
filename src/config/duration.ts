import { shown, type Parsed } from "./parsed.ts";

/** A length of time in milliseconds; always a whole number ≥ 0. */
export type Milliseconds = number;

const units = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
] as const;

const whole = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/;
const part = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g;

/** Reads `250ms`, `30s`, `10m`, `24h`, `7d`, also joined (`2h10m`) or with a fraction (`1.5h`). */
export function parseDuration(text: string): Parsed<Milliseconds> {
  const trimmed = text.trim();
  const milliseconds = whole.test(trimmed) ? sum(trimmed) : Number.NaN;
  return Number.isSafeInteger(milliseconds)
    ? { value: milliseconds }
    : {
        problem: `${shown(text)} is not a duration; write a number with its unit, such as 250ms, 30s, 10m, 24h or 7d`,
      };
}

function sum(text: string): number {
  let total = 0;
  for (const [, amount, name] of text.matchAll(part)) {
    const unit = units.find(([known]) => known === name);
    total += Number(amount) * (unit?.[1] ?? Number.NaN);
  }
  return Math.round(total);
}

/** Writes a duration with the largest unit that divides it; `parseDuration` reads it back unchanged. */
export function formatDuration(duration: Milliseconds): string {
  const unit = units.find(([, size]) => duration >= size && duration % size === 0);
  return unit ? `${duration / unit[1]}${unit[0]}` : `${duration}ms`;
}
