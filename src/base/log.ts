/** The log: one wide line an event, JSON for machines or text for people. */
import type { LineSink } from "./line-sink.ts";
import { levels, type Fields, type Level, type RequestFields } from "./log-fields.ts";
import { requestText, text } from "./log-text.ts";

export type { Fields, Level, RequestFields };

export interface Logger {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** The line of a request: `info`, or `error` for a status of 500 and above. */
  request(fields: RequestFields): void;
}

/** A log that a process owns. */
export interface OwnLogger extends Logger {
  /** Resolves when everything is written, or after a second where nobody reads. */
  flush(): Promise<void>;
}

export interface LogOptions {
  readonly level: Level;
  readonly format: "json" | "text";
  /** Write a line for every request. */
  readonly requests: boolean;
  /** Who writes: `parent`, `worker 1`. */
  readonly from: string;
}

/** Characters of a quoted string; a request line with four of them stays within one write. */
const STRING_MAX = 900;
const FLUSH_MS = 1000;

export function createLogger(options: LogOptions, sink: LineSink): OwnLogger {
  const least = levels.indexOf(options.level);
  const json = options.format === "json";
  const from = quote(options.from);

  /** JSON lines are ASCII, so that their length is known. */
  const write = (line: string, bytes = json ? line.length : Buffer.byteLength(line)): void => {
    if (!sink.write(line, bytes)) return;
    const dropped = sink.takeDropped();
    // Counted before: what is dropped from here on is told the next time.
    if (dropped > 0)
      log("warn", "log lines were dropped: nobody reads them fast enough", { dropped });
  };

  const log = (level: Level, message: string, fields: Fields = {}): void => {
    if (levels.indexOf(level) < least) return;
    if (!json) return write(text(new Date(), level, message, fields));
    const head = `{"time":"${timestamp()}","level":"${level}","from":${from},"message":${quote(message)}`;
    const line = `${head}${members(fields)}}\n`;
    write(line.length <= sink.lineBytesMax ? line : `${head},"cut":true}\n`);
  };

  const request = (fields: RequestFields): void => {
    const level = fields.status >= 500 ? "error" : "info";
    if (!options.requests || levels.indexOf(level) < least) return;
    write(json ? requestJson(level, fields) : requestText(new Date(), level, fields));
  };

  // Built by hand: this line is written tens of thousands of times a second.
  const requestJson = (level: Level, f: RequestFields): string =>
    `{"time":"${timestamp()}","level":"${level}","from":${from},"message":"request","id":${quote(f.id)}` +
    `,"method":${quote(f.method)},"path":${quote(f.path)},"route":"${f.route}","status":${f.status}` +
    `,"seconds":${Math.round(f.seconds * 1e6) / 1e6},"bytesIn":${f.bytesIn},"bytesOut":${f.bytesOut}` +
    (f.client === undefined ? "" : `,"client":${quote(f.client)}`) +
    (f.agent === undefined ? "" : `,"agent":${quote(f.agent)}`) +
    (f.error === undefined ? "}\n" : `,"error":${quote(f.error)}}\n`);

  return {
    debug: (message, fields) => log("debug", message, fields),
    info: (message, fields) => log("info", message, fields),
    warn: (message, fields) => log("warn", message, fields),
    error: (message, fields) => log("error", message, fields),
    request,
    flush: () => sink.flush(FLUSH_MS),
  };
}

let stampedAt = 0;
let stamp = "";

/** ISO 8601 with milliseconds; made once a millisecond. */
function timestamp(): string {
  const now = Date.now();
  if (now !== stampedAt) {
    stampedAt = now;
    stamp = new Date(now).toISOString();
  }
  return stamp;
}

/** Characters that JSON writes as they are, one byte each. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** A JSON string of at most about 1,000 characters, whatever a client put into it. */
function quote(value: string): string {
  if (value.length <= STRING_MAX) {
    if (PLAIN.test(value)) return `"${value}"`;
    const text = ascii(JSON.stringify(value));
    if (text.length <= STRING_MAX) return text;
  }
  // The longest escape has six characters.
  return ascii(JSON.stringify(`${value.slice(0, STRING_MAX / 6)}…`));
}

const NOT_ASCII = /[^ -~]/g;

/** The same JSON text, with escapes for what is not ASCII. */
function ascii(text: string): string {
  return text.replace(
    NOT_ASCII,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const RESERVED: ReadonlySet<string> = new Set(["time", "level", "from", "message"]);

function members(fields: Fields): string {
  let out = "";
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    out += `,${quote(RESERVED.has(key) ? `${key}_` : key)}:${rendered(value)}`;
  }
  return out;
}

function rendered(value: unknown): string {
  if (value instanceof Error) return quote(describe(value));
  if (typeof value === "string") return quote(value);
  try {
    return ascii(JSON.stringify(value) ?? "null");
  } catch {
    return quote(String(value));
  }
}

/** An error with its place and its causes. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.stack?.includes(error.message)
    ? error.stack
    : `${error.name}: ${error.message}`;
  return error.cause === undefined ? own : `${own}\ncaused by ${describe(error.cause)}`;
}
