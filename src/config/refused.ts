const protection =
  "Holdfast refuses to start rather than serve without the protection you asked for";

/** Sections of the contract (DESIGN §9) that protect or change the job and that this version cannot honour. */
const refused: readonly (readonly [section: string, why: string])[] = [
  [
    "auth",
    `${protection} (only auth.anonymous is understood); remove it, and let a proxy authenticate`,
  ],
  ["tls.clientCas", `${protection}; remove it, and let a proxy ask for client certificates`],
  [
    "proxy",
    "pull-through is not supported yet, and Holdfast refuses to start rather than be a plain registry where you asked for a cache; remove it",
  ],
];

/** Why a key stops the start, for keys that belong to another version. */
export function refusal(path: string): string | undefined {
  return find((section) => within(path, section, "."));
}

/** The same for an environment variable; `nameOf` gives the variable of a section. */
export function variableRefusal(
  variable: string,
  nameOf: (path: string) => string,
): string | undefined {
  return find((section) => within(variable, nameOf(section), "_"));
}

function find(matches: (section: string) => boolean): string | undefined {
  const entry = refused.find(([section]) => matches(section));
  return entry && `${entry[0]} is not supported by this version: ${entry[1]}`;
}

function within(name: string, section: string, separator: string): boolean {
  const [a, b] = [name.toLowerCase(), section.toLowerCase()];
  return a === b || a.startsWith(b + separator);
}
