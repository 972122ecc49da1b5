import { expect, test } from "bun:test";
import { join } from "node:path";
import { SUITES } from "./suites.ts";

test("every file of tests is in a suite", () => {
  const paths = SUITES.flatMap((suite) => suite.paths);
  const files = new Bun.Glob("{src,scripts,test,bench}/**/*.test.ts").scanSync({
    cwd: join(import.meta.dir, ".."),
  });
  const left = [...files].filter(
    (file) => !paths.some((path) => `./${file}` === path || `./${file}`.startsWith(`${path}/`)),
  );
  expect(left).toEqual([]);
});
