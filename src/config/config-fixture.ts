import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "bun:test";
import { ConfigError } from "./config.ts";
import { loadConfig, type Loaded, type LoadOptions } from "./load.ts";

/** An empty directory of the calling test file, gone after it. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-config-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export type Given = Partial<LoadOptions> & { readonly yaml?: string };

/** Loads in `cwd` on a machine with 4 cores where nothing is installed; `yaml` becomes the file `c.yml`. */
export function loaderIn(cwd: string): (given?: Given) => Loaded {
  return ({ yaml, ...options }: Given = {}) => {
    if (yaml !== undefined) writeFileSync(join(cwd, "c.yml"), yaml);
    const machine = {
      platform: "linux",
      cores: 4,
      installedData: join(cwd, "not-installed"),
      hostName: "N1.example.com",
    };
    const file = yaml === undefined ? undefined : "c.yml";
    return loadConfig({ env: {}, cwd, machine, file, ...options });
  };
}

/** The sentences with which a configuration is refused, without the directory's name. @throws when it is not refused. */
export function refusalsOf(load: () => Loaded, cwd: string): string[] {
  try {
    load();
  } catch (error) {
    if (error instanceof ConfigError)
      return error.problems.map((problem) => problem.replaceAll(`${cwd}/`, ""));
    throw error;
  }
  throw new Error("the configuration was accepted");
}
