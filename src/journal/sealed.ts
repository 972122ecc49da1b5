/**
 * The form of every object of the journal: lines of JSON, gzipped; the first says what it is, the last one how many
 * lines there are and their SHA-256. Of gzip, whose output comes as its input does, the lines before a tear remain.
 */
import { promisify } from "node:util";
import { constants, gunzipSync, gzip } from "node:zlib";

const LEVEL = 1;
/** Texts up to this many characters are compressed at once: quicker than the way to another thread. */
const SMALL = 65_536;

const gzipAway = promisify(gzip);

/** The contents of a sealed object. */
export interface Unsealed {
  /** The parsed first line; `undefined` where not even that is left. */
  readonly header: unknown;
  /** The lines after it. */
  readonly lines: readonly string[];
  /** False when bytes are missing at the end; then `lines` are the whole ones before. */
  readonly whole: boolean;
}

export async function seal(
  header: object,
  lines: readonly string[],
): Promise<Uint8Array<ArrayBuffer>> {
  const head = JSON.stringify(header);
  const body = lines.length === 0 ? `${head}\n` : `${head}\n${lines.join("\n")}\n`;
  const trailer = JSON.stringify({ lines: lines.length, sha256: sha256(body) });
  const text = Buffer.from(`${body}${trailer}\n`);
  if (text.byteLength <= SMALL) return Bun.gzipSync(text, { level: LEVEL });
  return new Uint8Array(await gzipAway(text, { level: LEVEL }));
}

/** `undefined` for bytes that are neither whole nor the beginning of a whole object. */
export function unseal(bytes: Uint8Array<ArrayBuffer>): Unsealed | undefined {
  const text = unzipped(bytes);
  if (text === undefined) return undefined;
  const end = text.lastIndexOf("\n");
  const lines = text.slice(0, Math.max(end, 0)).split("\n");
  const trailer = parsed(lines.at(-1) ?? "");
  if (isTrailer(trailer) && end === text.length - 1) {
    lines.pop();
    const body = `${lines.join("\n")}\n`;
    const [head = "", ...rest] = lines;
    const whole = trailer.lines === rest.length && trailer.sha256 === sha256(body);
    return whole ? { header: parsed(head), lines: rest, whole } : undefined;
  }
  const [head = "", ...rest] = lines;
  return { header: parsed(head), lines: rest, whole: false };
}

export function sha256(data: string | Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(data).digest("hex");
}

function unzipped(bytes: Uint8Array): string | undefined {
  try {
    return gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }).toString();
  } catch {
    return undefined;
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function isTrailer(value: unknown): value is { readonly lines: number; readonly sha256: string } {
  return typeof value === "object" && value !== null && "sha256" in value && "lines" in value;
}
