/** The little XML that S3 speaks. */
import { XMLParser } from "fast-xml-parser";

/** A parsed element: text, or its children by name; those that may repeat are always lists. */
export type Xml = string | readonly Xml[] | { readonly [name: string]: Xml };

const LISTS: ReadonlySet<string> = new Set([
  "Contents",
  "CommonPrefixes",
  "Upload",
  "Part",
  "Error",
]);
const parser = new XMLParser({
  parseTagValue: false,
  ignoreAttributes: true,
  ignoreDeclaration: true,
  isArray: (name, path) => LISTS.has(name) && String(path).includes("."),
});

/** The document's root element, whatever its name; `{}` where the text is no XML. */
export function parseXml(text: string): Xml {
  try {
    const document = parser.parse(text) as { readonly [name: string]: Xml };
    return Object.values(document)[0] ?? {};
  } catch {
    return {};
  }
}

/** The text of a child element. */
export function textOf(xml: Xml, name: string): string | undefined {
  const child = childOf(xml, name);
  return typeof child === "string" ? child : undefined;
}

export function listOf(xml: Xml, name: string): readonly Xml[] {
  const child = childOf(xml, name);
  return Array.isArray(child) ? (child as readonly Xml[]) : [];
}

export function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function childOf(xml: Xml, name: string): Xml | undefined {
  return typeof xml === "object" && !Array.isArray(xml)
    ? (xml as { readonly [name: string]: Xml })[name]
    : undefined;
}
