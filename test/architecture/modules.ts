/** The modules of the product and what each one imports. */
import { join, normalize } from "node:path";
import { takeApart, type Source } from "./source.ts";

export interface Import {
  /** As it is written. */
  readonly specifier: string;
  /** The file below the root; `undefined` of what lies outside, such as packages. */
  readonly file: string | undefined;
  /** Types only: gone when the program runs. */
  readonly type: boolean;
}

export interface Module extends Source {
  /** Below the root, such as `oci/digest.ts`. */
  readonly file: string;
  readonly lines: number;
  readonly imports: readonly Import[];
}

const FROM = /\b(?:import|export)\b(\s+type\b)?[^;"]*?\bfrom\s*"#(\d+)"/g;
const BARE = /\bimport\s*"#(\d+)"/g;
const DYNAMIC = /\bimport\s*\(\s*"#(\d+)"/g;
/** Entry of a thread. */
const ENTRY = /\bnew URL\(\s*"#(\d+)"\s*,\s*import\.meta\.url\b/g;
/** An import whose target cannot be read from the source. */
const UNREADABLE = /\bimport\s*\(\s*(?!"#)|\brequire\s*\(/;

export function parseModule(file: string, text: string): Module {
  const source = takeApart(text);
  const { code, texts } = source;
  if (UNREADABLE.test(code)) throw new Error(`${file} has an import whose target is not a text`);
  const of = (place: string | undefined, type: boolean): Import => {
    const specifier = texts[Number(place)] ?? "";
    const path = specifier.startsWith(".") ? normalize(join(file, "..", specifier)) : "..";
    return { specifier, file: path.startsWith("..") ? undefined : path, type };
  };
  return {
    ...source,
    file,
    lines: text.split("\n").length - 1,
    imports: [
      ...Array.from(code.matchAll(FROM), ([, type, place]) => of(place, type !== undefined)),
      ...[BARE, DYNAMIC, ENTRY].flatMap((pattern) =>
        Array.from(code.matchAll(pattern), ([, place]) => of(place, false)),
      ),
    ],
  };
}

/** Every module below `root`, tests included, in the order of their names. */
export async function readModules(root: string): Promise<Module[]> {
  const files = await Array.fromAsync(new Bun.Glob("**/*.ts").scan({ cwd: root }));
  return Promise.all(
    files.sort().map(async (file) => parseModule(file, await Bun.file(join(root, file)).text())),
  );
}

/** Tests, and what only tests use: fixtures, the ports' suites, the processes that tests start. */
export function isTest(file: string): boolean {
  return /(?:\.test|-fixture|\/conformance|\/conformance-[a-z]+)\.ts$|\/processes\//.test(file);
}
