import { readFileSync } from "node:fs";
import { isMap as isYamlMap, isSeq, LineCounter, parseDocument, type Document } from "yaml";
import { ConfigError } from "./problem.ts";

/** A YAML file as plain values, and the lines where they were written. */
export interface YamlFile {
  readonly name: string;
  readonly tree: unknown;
  /** `name:line` of the deepest part of a path that the file has, or its name alone. */
  where(path: readonly string[]): string;
}

/** Reads a YAML 1.2 file. @throws ConfigError when it cannot be read or is no YAML. */
export function readYamlFile(name: string): YamlFile {
  return parseYaml(name, read(name));
}

/** @throws ConfigError when the text is no YAML. */
export function parseYaml(name: string, text: string): YamlFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const broken = document.errors.map(({ code, message, pos: [offset] }) => {
    const { line } = lines.linePos(offset);
    if (code === "MULTIPLE_DOCS")
      return `${name}:${line}: a second YAML document begins here; write one document only, without "---" inside it.`;
    return `${name}:${line}: this is not valid YAML (${message}); correct it.`;
  });
  if (broken.length > 0) throw new ConfigError(broken);
  const line = (path: readonly string[]): string => {
    const offset = offsetOf(document, path);
    return offset === undefined ? name : `${name}:${lines.linePos(offset).line}`;
  };
  return { name, tree: toPlain(name, document), where: line };
}

function read(name: string): string {
  try {
    return readFileSync(name, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError([
      `${name}: the configuration file cannot be read (${reason}); name another with --config or HOLDFAST_CONFIG, or make it readable.`,
    ]);
  }
}

/** Aliases are expanded here, at most 100 of them, so that a small file cannot become a huge tree. */
function toPlain(name: string, document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch {
    // The error would name the alias, which may be a secret that begins with "*".
    throw new ConfigError([
      `${name}: this is not usable YAML (an alias leads nowhere, or there are too many); write it plainly, with quotes around a text that begins with "*".`,
    ]);
  }
}

function offsetOf(document: Document, path: readonly string[]): number | undefined {
  let node: unknown = document.contents;
  let offset: number | undefined;
  for (const name of path) {
    if (isYamlMap(node)) {
      const pair = node.items.find(({ key }) => String(key) === name);
      if (!pair) break;
      offset = rangeStart(pair.key) ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(name)];
      offset = rangeStart(node) ?? offset;
    } else break;
  }
  return offset;
}

function rangeStart(node: unknown): number | undefined {
  if (typeof node !== "object" || node === null || !("range" in node)) return undefined;
  const start: unknown = Array.isArray(node.range) ? node.range[0] : undefined;
  return typeof start === "number" ? start : undefined;
}
