/** JSON as an adversary may send it. */

/** Why a text was refused, in words for the sender. */
export class JsonError extends Error {
  override readonly name = "JsonError";
}

/** Longest text repeated in a message, in characters. */
const QUOTED_MAX = 128;

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Parses UTF-8 JSON. Throws `JsonError` for malformed text, nesting beyond `depthMax`, and keys that occur
 * twice in one object: parsers disagree on which one counts, so two readers could see two documents.
 */
export function parseJson(bytes: Uint8Array, depthMax: number): unknown {
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch {
    throw new JsonError("not valid UTF-8");
  }
  checkShape(text, depthMax);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new JsonError(error instanceof Error ? error.message : "not valid JSON");
  }
}

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];

const NO_KEYS = 0;

/** One pass before the real parser, which would recurse on deep input and silently keep the last of equal keys. */
function checkShape(text: string, depthMax: number): void {
  // One for each open container: the keys of an object, made with its first; NO_KEYS for a list.
  const open: (Set<string> | undefined | typeof NO_KEYS)[] = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (open.length >= depthMax) throw new JsonError(`nested deeper than ${depthMax} levels`);
      open.push(code === OPEN_BRACE ? undefined : NO_KEYS);
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      open.pop();
    } else if (code === QUOTE) {
      const end = endOfString(text, at);
      const keys = open.at(-1);
      if (keys !== NO_KEYS && text.charCodeAt(skipSpace(text, end + 1)) === COLON) {
        const key = readKey(text.slice(at, end + 1));
        if (keys === undefined) open[open.length - 1] = new Set([key]);
        else if (keys.has(key)) throw new JsonError(`key ${quote(key)} occurs twice in one object`);
        else keys.add(key);
      }
      at = end;
    }
  }
}

function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (end > 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
  if (end < 0) throw new JsonError("unterminated string");
  return end;
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text.charCodeAt(at - 1 - slashes) === BACKSLASH) slashes++;
  return slashes % 2 === 1;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && text.charCodeAt(at) <= 0x20) at++;
  return at;
}

/** A text in quotes, cut where it would swamp a message. */
export function quote(text: string): string {
  return JSON.stringify(text.length > QUOTED_MAX ? `${text.slice(0, QUOTED_MAX)}…` : text);
}

function readKey(literal: string): string {
  if (!literal.includes("\\")) return literal.slice(1, -1);
  try {
    return JSON.parse(literal) as string;
  } catch {
    throw new JsonError("not valid JSON");
  }
}
