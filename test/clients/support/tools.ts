import { describe, test } from "bun:test";
import { join, resolve } from "node:path";

const checkout = resolve(import.meta.dir, "../../..");
const cache = process.env["HOLDFAST_TOOLS"] ?? join(checkout, ".cache/tools");

/** Where tools are looked for: those that scripts/setup.sh built come before the system's. */
export const toolPath = [
  join(cache, "bin"),
  process.env["PATH"] ?? "",
  "/usr/local/sbin:/usr/sbin:/sbin",
].join(":");

/** The program's absolute path, or undefined where it is not installed. */
export const findTool = (name: string): string | undefined =>
  Bun.which(name, { PATH: toolPath }) ?? undefined;

/** Programs that unpack or mount layers, which takes root's rights as the tests start them. */
const rootOnly = new Set(["podman", "buildah", "containerd", "dockerd"]);

/** Why a suite cannot run here, with what to do about it; undefined when it can. */
function obstacle(programs: readonly string[]): string | undefined {
  const missing = programs.filter((name) => findTool(name) === undefined);
  if (missing.length > 0) return `needs ${missing.join(", ")}: run scripts/setup.sh`;
  const asRoot = programs.filter((name) => rootOnly.has(name));
  if (asRoot.length > 0 && process.getuid?.() !== 0) return `${asRoot.join(", ")}: run as root`;
  return undefined;
}

/**
 * A `describe` for tests that need programs. Where one is missing the suite is reported as skipped
 * with the command that installs it; in CI that is a failure.
 */
export function describeWith(programs: readonly string[], title: string, body: () => void): void {
  const remedy = obstacle(programs);
  if (remedy === undefined) {
    describe(title, body);
  } else if (process.env["CI"] === undefined) {
    test.skip(`${title} (${remedy})`, () => {});
  } else {
    test(title, () => {
      throw new Error(remedy);
    });
  }
}
