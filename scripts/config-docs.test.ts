import { expect, test } from "bun:test";
import { knownKeys } from "../src/config/keys.ts";
import { page, withKeys } from "./config-docs.ts";

test("docs/configuration.md has the keys of the schema (else run bun scripts/config-docs.ts)", async () => {
  const text = await Bun.file(page).text();
  expect(text).toBe(withKeys(text));
  for (const path of knownKeys.keys()) expect(text).toContain(`| \`${path}\` |`);
});

test("a page without markers is refused rather than overwritten", () => {
  expect(() => withKeys("# nothing")).toThrow("has to hold");
});
