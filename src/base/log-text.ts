/** The log for people: one line an event, colours on a terminal that wants them. */
import type { Fields, Level, RequestFields } from "./log-fields.ts";

const COLOURS: Readonly<Record<Level, string>> = {
  debug: "\x1b[2m",
  info: "\x1b[32m",
  warn: "\x1b[33m",
  error: "\x1b[31m",
};
const RESET = "\x1b[0m";
const coloured = process.stdout.isTTY && process.env["NO_COLOR"] === undefined;
/** So that a line stays within one atomic write. */
const LINE_MAX = 1300;

function line(time: Date, level: Level, message: string): string {
  const word = level.toUpperCase().padEnd(5);
  const flat = printable(message);
  const kept = flat.length > LINE_MAX ? `${flat.slice(0, LINE_MAX)}…` : flat;
  return `${clock(time)} ${coloured ? `${COLOURS[level]}${word}${RESET}` : word} ${kept}\n`;
}

export function text(time: Date, level: Level, message: string, fields: Fields): string {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${shown(value)}`)
    .join("");
  return line(time, level, message + rest);
}

export function requestText(time: Date, level: Level, f: RequestFields): string {
  const took = f.seconds < 1 ? `${(f.seconds * 1000).toFixed(1)} ms` : `${f.seconds.toFixed(1)} s`;
  const moved = [f.bytesIn && `${f.bytesIn} B in`, f.bytesOut && `${f.bytesOut} B out`].filter(
    Boolean,
  );
  const parts = [took, ...moved, f.client, f.id, f.error].filter((part) => part !== undefined);
  return line(time, level, `${f.status} ${f.method} ${f.path}  ${parts.join(", ")}`);
}

function shown(value: unknown): string {
  if (value instanceof Error) return value.message;
  if (typeof value === "string") return /[\s"=]/.test(value) ? JSON.stringify(value) : value;
  return JSON.stringify(value) ?? "";
}

/** Control characters could forge lines or drive the terminal. */
function printable(value: string): string {
  return value.replace(/\p{Cc}/gu, (c) => (c === "\n" ? " | " : JSON.stringify(c).slice(1, -1)));
}

function clock(time: Date): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}
