/** The rules of the house (DESIGN §3): each takes the modules and gives a sentence for every breach. */
import { isTest, type Import, type Module } from "./modules.ts";

export type Rule = (modules: readonly Module[]) => string[];

/** From the top down: a ring may import itself and what stands below it. */
const RINGS = [
  "main.ts",
  "cli",
  "app",
  "http",
  "auth",
  "registry",
  "cluster",
  "upstream",
  "journal",
  "blobs",
  "meta",
  "config",
  "oci",
  "base",
];
/** Rings whose folders are engines behind the ring's port. */
const PORTS = ["blobs", "meta"];
const LINES_MAX = 500;
const IO = /^(?:bun(?::.*)?|node:.*)$/;
const IO_GLOBALS = /\b(?:Bun|process|fetch|WebSocket|Worker)\b\s*[.(]/;
const PAST =
  /\b(?:previously|no longer|used to be|formerly|originally|refactor\w*|legacy code|was (?:moved|renamed|removed|changed)|(?:moved|renamed) from|old version)\b/i;

const ringOf = (file: string): string => file.split("/", 1)[0] ?? "";

/** Folders of a port that any engine, and whoever may use the port, may use. */
const COMMON = ["meta/link"];

/** `meta/sqlite` of `meta/sqlite/reader.ts`; `undefined` outside engines. */
function engineOf(file: string): string | undefined {
  const [ring, folder, ...rest] = file.split("/");
  if (ring === undefined || !PORTS.includes(ring) || rest.length === 0) return undefined;
  const found = `${ring}/${folder}`;
  return COMMON.includes(found) ? undefined : found;
}

const product = (modules: readonly Module[]): Module[] => modules.filter((m) => !isTest(m.file));

/** A rule on single imports of the product: the reason why one may not be, or nothing. */
function eachImport(judge: (from: string, to: Import) => string | undefined): Rule {
  return (modules) =>
    product(modules).flatMap(({ file, imports }) =>
      imports.flatMap((to) => {
        const reason = judge(file, to);
        return reason === undefined
          ? []
          : [`${file} imports ${to.file ?? to.specifier}: ${reason}`];
      }),
    );
}

const everyFolderIsARing: Rule = (modules) =>
  modules
    .filter(({ file }) => !RINGS.includes(ringOf(file)))
    .map(({ file }) => `${file} is in no ring`);

const importsExist: Rule = (modules) => {
  const files = new Set(modules.map(({ file }) => file));
  return modules.flatMap(({ file, imports }) =>
    imports
      .filter((to) => to.file !== undefined && !files.has(to.file))
      .map((to) => `${file} imports ${to.file}, which is not there`),
  );
};

const importsPointDown = eachImport((from, { file }) =>
  file !== undefined && RINGS.indexOf(ringOf(file)) < RINGS.indexOf(ringOf(from))
    ? "imports point down the rings"
    : undefined,
);

const onlyAppNamesEngines = eachImport((from, { file }) => {
  const engine = file === undefined ? undefined : engineOf(file);
  if (engine === undefined || engine === engineOf(from) || ringOf(from) === "app") return undefined;
  return engineOf(from) === undefined
    ? "only app/ names an engine"
    : "engines do not know each other";
});

const productNeedsNoTests = eachImport((_, { file }) =>
  file !== undefined && isTest(file) ? "the product does not import tests" : undefined,
);

const SQL = /^(?:bun:sqlite|bun:sql)$/;
const FILES = /^(?:node:)?fs(?:\/promises)?$/;

const ringsKeepTheirBounds = eachImport((from, { specifier, file }) => {
  const ring = ringOf(from);
  const target = file === undefined ? undefined : ringOf(file);
  if (ring === "oci") {
    if (target !== undefined && target !== "oci" && target !== "base") return "oci knows base only";
    if (target === undefined) return "oci is pure";
  }
  if (ring === "http" && SQL.test(specifier)) return "http touches no store";
  if (ring === "registry") {
    if (target === "config") return "registry is given its options";
    if (SQL.test(specifier) || FILES.test(specifier)) return "registry knows ports only";
  }
  if (IO.test(specifier) && SQL.test(specifier) && engineOf(from) === undefined && ring !== "app") {
    return "databases belong to engines";
  }
  return undefined;
});

const ociIsPure: Rule = (modules) =>
  product(modules)
    .filter(({ file, code }) => ringOf(file) === "oci" && IO_GLOBALS.test(code))
    .map(({ file }) => `${file} does I/O`);

/** Cycles of imports that are there when the program runs, and of types as well: both tie files together. */
const noCycles: Rule = (modules) => {
  const imports = new Map(modules.map((m) => [m.file, m.imports]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(" → "));
    else if (!done.has(file)) {
      for (const to of imports.get(file) ?? []) if (to.file) visit(to.file, [...path, file]);
      done.add(file);
    }
  };
  for (const { file } of modules) visit(file, []);
  return cycles;
};

const everyFileIsUsed: Rule = (modules) => {
  const imports = new Map(modules.map((m) => [m.file, m.imports]));
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const to of imports.get(file) ?? []) if (to.file) visit(to.file);
  };
  visit("main.ts");
  return product(modules)
    .filter(({ file }) => !seen.has(file))
    .map(({ file }) => `${file} is not reached from main.ts`);
};

const filesAreSmall: Rule = (modules) =>
  modules
    .filter(({ lines }) => lines > LINES_MAX)
    .map(({ file, lines }) => `${file} has ${lines} lines`);

const noDefaultExports: Rule = (modules) =>
  modules
    .filter(({ code }) => /\bexport\s+default\b|\bas\s+default\b/.test(code))
    .map(({ file }) => `${file} has a default export`);

const onlyTheCommandLinePrints: Rule = (modules) =>
  product(modules)
    .filter(({ file, code }) => ringOf(file) !== "cli" && /\bconsole\s*\./.test(code))
    .map(({ file }) => `${file} writes to the console`);

const commentsTellThePresent: Rule = (modules) =>
  modules.flatMap(({ file, comments }) =>
    comments
      .map((comment) => PAST.exec(comment)?.[0])
      .filter((word) => word !== undefined)
      .map((word) => `${file}: a comment tells the past: "${word}"`),
  );

export const RULES = {
  everyFolderIsARing,
  importsExist,
  importsPointDown,
  onlyAppNamesEngines,
  productNeedsNoTests,
  ringsKeepTheirBounds,
  ociIsPure,
  noCycles,
  everyFileIsUsed,
  filesAreSmall,
  noDefaultExports,
  onlyTheCommandLinePrints,
  commentsTellThePresent,
} as const satisfies Readonly<Record<string, Rule>>;
