/** Writes the table of keys into docs/configuration.md: `bun scripts/config-docs.ts`. */
import { variableOf } from "../src/config/env.ts";
import { knownKeys, type KnownKey } from "../src/config/keys.ts";

const begin = "<!-- keys: written by scripts/config-docs.ts from src/config/schema.ts -->";
const end = "<!-- end of keys -->";

export const page = new URL("../docs/configuration.md", import.meta.url);

/** The page with its table of keys made anew from the schema. @throws when its two markers are not there. */
export function withKeys(text: string): string {
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`the page has to hold "${begin}" and "${end}"`);
  const sections = [...knownKeys.values()].map(section).join("\n");
  return `${text.slice(0, from)}${begin}\n\n| key | what it is | default |\n| --- | --- | --- |\n${sections}\n\n${text.slice(to)}`;
}

function section({ path, description, form, fallback }: KnownKey): string {
  const otherwise =
    "words" in fallback ? fallback.words : `\`${JSON.stringify(fallback.written) ?? "none"}\``;
  const what = `${description} Takes ${form}. \`${variableOf(path)}\``;
  return `| \`${path}\` | ${what.replaceAll("|", "\\|")} | ${otherwise} |`;
}

if (import.meta.main) await Bun.write(page, withKeys(await Bun.file(page).text()));
