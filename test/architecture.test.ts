/** The rules of the house hold for every file below src/, and each rule is shown to find a breach. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { isTest, parseModule, readModules } from "./architecture/modules.ts";
import { RULES } from "./architecture/rules.ts";
import { takeApart } from "./architecture/source.ts";

const ROOT = join(import.meta.dir, "../src");
const modules = await readModules(ROOT);

/** Modules made of their texts, `main.ts` among them. */
const house = (files: Record<string, string>) =>
  Object.entries({ "main.ts": "", ...files }).map(([file, text]) => parseModule(file, text));

describe("the house", () => {
  test("was seen at all", () => {
    expect(modules.filter(({ file }) => !isTest(file)).length).toBeGreaterThan(50);
    for (const ring of [
      "cli",
      "app",
      "http",
      "registry",
      "blobs",
      "meta",
      "config",
      "oci",
      "base",
    ]) {
      expect(modules.some(({ file }) => file.startsWith(`${ring}/`))).toBe(true);
    }
    expect(modules.flatMap(({ imports }) => imports).length).toBeGreaterThan(200);
  });

  test("has no import that Bun finds and this reading does not", async () => {
    const transpiler = new Bun.Transpiler({ loader: "ts" });
    for (const { file, imports } of modules) {
      const found = new Set(imports.map(({ specifier }) => specifier));
      const text = await Bun.file(join(ROOT, file)).text();
      const missed = transpiler.scanImports(text).filter(({ path }) => !found.has(path));
      expect({ file, missed }).toEqual({ file, missed: [] });
    }
  });

  test.each(Object.entries(RULES))("%s", (_, rule) => expect(rule(modules)).toEqual([]));
});

describe("a breach is found:", () => {
  const importing = (text: string) => `import { a } from "${text}";\n`;

  test.each<[keyof typeof RULES, Record<string, string>, string]>([
    ["everyFolderIsARing", { "utils/a.ts": "" }, "utils/a.ts"],
    ["importsExist", { "base/a.ts": importing("./b.ts") }, "base/b.ts"],
    ["importsPointDown", { "base/a.ts": importing("../oci/b.ts") }, "base/a.ts imports oci/b.ts"],
    ["importsPointDown", { "oci/a.ts": 'export * from "../http/b.ts";' }, "oci/a.ts"],
    ["importsPointDown", { "meta/a.ts": 'import type { B } from "../blobs/b.ts";' }, "meta/a.ts"],
    ["importsPointDown", { "config/a.ts": 'await import("../app/b.ts");' }, "config/a.ts"],
    ["importsPointDown", { "http/a.ts": 'type B = import("../cli/b.ts").B;' }, "http/a.ts"],
    ["importsPointDown", { "registry/a.ts": 'import "../http/b.ts";' }, "registry/a.ts"],
    ["importsPointDown", { "app/a.ts": importing("../main.ts") }, "app/a.ts imports main.ts"],
    ["onlyAppNamesEngines", { "http/a.ts": importing("../blobs/file/b.ts") }, "only app/"],
    ["onlyAppNamesEngines", { "cli/a.ts": importing("../meta/sqlite/b.ts") }, "only app/"],
    ["onlyAppNamesEngines", { "meta/a.ts": importing("./sqlite/b.ts") }, "only app/"],
    ["onlyAppNamesEngines", { "meta/etcd/a.ts": importing("../sqlite/b.ts") }, "each other"],
    ["onlyAppNamesEngines", { "blobs/s3/a.ts": importing("../../meta/sqlite/b.ts") }, "each other"],
    ["productNeedsNoTests", { "meta/a.ts": importing("./conformance.ts") }, "meta/conformance.ts"],
    ["productNeedsNoTests", { "http/a.ts": importing("./b.test.ts") }, "http/b.test.ts"],
    ["ringsKeepTheirBounds", { "oci/a.ts": importing("../config/b.ts") }, "base only"],
    ["ringsKeepTheirBounds", { "oci/a.ts": importing("node:crypto") }, "pure"],
    ["ringsKeepTheirBounds", { "oci/a.ts": importing("zod") }, "pure"],
    ["ringsKeepTheirBounds", { "http/a.ts": importing("bun:sqlite") }, "no store"],
    ["ringsKeepTheirBounds", { "registry/a.ts": importing("bun:sqlite") }, "ports only"],
    ["ringsKeepTheirBounds", { "registry/a.ts": importing("node:fs/promises") }, "ports only"],
    ["ringsKeepTheirBounds", { "registry/a.ts": importing("../config/b.ts") }, "its options"],
    ["ringsKeepTheirBounds", { "base/a.ts": importing("bun:sqlite") }, "engines"],
    ["ociIsPure", { "oci/a.ts": "Bun.file(x);" }, "oci/a.ts"],
    ["noCycles", { "oci/a.ts": importing("./b.ts"), "oci/b.ts": importing("./a.ts") }, "→"],
    ["everyFileIsUsed", { "base/a.ts": "" }, "base/a.ts"],
    ["filesAreSmall", { "base/a.ts": "\n".repeat(501) }, "501"],
    ["noDefaultExports", { "base/a.ts": "export default 1;" }, "base/a.ts"],
    ["noDefaultExports", { "base/a.ts": "export { a as default };" }, "base/a.ts"],
    ["onlyTheCommandLinePrints", { "app/a.ts": "console.log(1);" }, "app/a.ts"],
    ["commentsTellThePresent", { "base/a.ts": "// This is no longer needed." }, "no longer"],
    ["commentsTellThePresent", { "base/a.ts": "/**\n * Previously slow.\n */" }, "Previously"],
  ])("%s in %j", (rule, files, sentence) => {
    const breaches = RULES[rule](house(files));
    expect(breaches).toHaveLength(1);
    expect(breaches[0]).toContain(sentence);
  });

  test("and nothing is found where all is well", () => {
    const good = house({
      "main.ts": 'await import("./app/a.ts");',
      "app/a.ts": 'import { b } from "../meta/sqlite/b.ts";\nimport { c } from "../http/c.ts";',
      "meta/sqlite/b.ts":
        'import { Database } from "bun:sqlite";\nnew URL("./w.ts", import.meta.url);',
      "meta/sqlite/w.ts": 'import type { P } from "../port.ts";',
      "meta/port.ts": "",
      "http/c.ts": 'import { d } from "../oci/d.ts";\nimport { f } from "../meta/port.ts";',
      "oci/d.ts": 'const text = "console.log no longer";\nimport { e } from "../base/e.ts";',
      "base/e.ts": 'import { f } from "node:fs";',
      "base/e.test.ts": 'import { x } from "../config/x-fixture.ts";',
      "config/x-fixture.ts": "",
    });
    for (const [name, rule] of Object.entries(RULES))
      expect([name, rule(good)]).toEqual([name, []]);
  });

  test("an import that cannot be read is refused", () => {
    expect(() => house({ "base/a.ts": "await import(name);" })).toThrow("base/a.ts");
    expect(() => house({ "base/a.ts": 'require("./b.ts");' })).toThrow("base/a.ts");
  });
});

test("code, texts and comments are told apart", () => {
  const source = takeApart(
    [
      'const a = "// no comment", b = /["\'`/]\\/\\*/g, c = 4 / 2; // one "comment"',
      "const d = `// ${`in ${{ e: \"x\" }} /* no */`} 'y' ${f /* two */} }`;",
      "/* import { no } from './no.ts' */ import { g,\n  type H } from './yes.ts';",
    ].join("\n"),
  );
  expect(source.comments).toEqual([
    '// one "comment"',
    "/* two */",
    "/* import { no } from './no.ts' */",
  ]);
  expect(source.texts).toEqual(["// no comment", "x", "./yes.ts"]);
});
