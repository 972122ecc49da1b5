/** From the lines that etcd writes to our log. */
import type { Fields, Level, Logger } from "../../base/log.ts";

export interface EtcdLine {
  readonly level: Level;
  readonly message: string;
  readonly fields: Fields;
}

const LEVELS: Readonly<Record<string, Level>> = { debug: "debug", info: "info", warn: "warn" };

/** A JSON line of etcd's logger, or `undefined` for any other, such as a panic of Go. */
export function parseLine(line: string): EtcdLine | undefined {
  let entry: unknown;
  try {
    entry = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof entry !== "object" || entry === null) return undefined;
  const { level, msg, ts: _, caller: __, stacktrace: ___, ...fields } = entry as Fields;
  if (typeof msg !== "string") return undefined;
  // `error`, and what ends the process: `dpanic`, `panic`, `fatal`.
  return { level: LEVELS[String(level)] ?? "error", message: msg, fields };
}

/** A sentence that comes again within this time is for the debug log: etcd repeats what does not change. */
const REPEATED_MS = 60_000;
/** Of the log of Go or of gRPC, which have formats of their own. */
const OF_LIBRARY = /^(?:[A-Z]+: )?\d{4}\/\d\d\/\d\d /;
/** How etcd ends once the others have removed it: with this as the error of its last sentences. */
const REMOVED = /^the member has been permanently removed from the cluster/;

/** Everything that one process of etcd writes. */
export class EtcdLog {
  readonly #log: Logger;
  readonly #said = new Map<string, number>();
  #lastError: string | undefined;
  #isTrace = false;
  #wasRemoved = false;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** What it said last that was an error, in one line; of a panic its first line. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** The others have removed this member for good. */
  get wasRemoved(): boolean {
    return this.#wasRemoved;
  }

  /** Resolves at the end of the stream. */
  async follow(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of stream) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.line(line);
    }
    this.line(rest);
  }

  line(text: string): void {
    if (text.trim() === "") return;
    const parsed = parseLine(text);
    if (parsed === undefined) return this.#plain(text);
    const { level, message, fields } = parsed;
    this.#wasRemoved ||= REMOVED.test(String(fields["error"]));
    if (level === "error") this.#lastError = sentence(parsed);
    this.#log[this.#isRepeated(message) ? "debug" : level](`etcd: ${message}`, fields);
  }

  /** The first line of what is not JSON names the trouble; usage texts and stack traces follow. */
  #plain(text: string): void {
    if (OF_LIBRARY.test(text))
      return this.#log[this.#isRepeated("of a library") ? "debug" : "warn"](`etcd: ${text}`);
    if (!this.#isTrace) this.#lastError = text;
    this.#log[this.#isTrace ? "debug" : "error"](`etcd: ${text}`);
    this.#isTrace = true;
  }

  #isRepeated(message: string): boolean {
    const now = performance.now();
    const last = this.#said.get(message) ?? Number.NEGATIVE_INFINITY;
    if (now - last < REPEATED_MS) return true;
    this.#said.set(message, now);
    return false;
  }
}

function sentence({ message, fields }: EtcdLine): string {
  const { error } = fields;
  return typeof error === "string" ? `${message}: ${error}` : message;
}
