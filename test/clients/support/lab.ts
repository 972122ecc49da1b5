import { afterAll, beforeAll } from "bun:test";
import { mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBalanced } from "../../support/nodes.ts";
import { startServer } from "../../support/server.ts";
import { storesOfSuite } from "../../support/shared-place.ts";
import { Api } from "./api.ts";
import { attempt, type CommandOptions, type Output, refused, run } from "./command.ts";
import { findTool, toolPath } from "./tools.ts";

/** What a client's suite works with: a registry of its own, a folder of its own, and commands run in them. */
export interface Lab {
  /** `127.0.0.1:PORT` of the registry. */
  readonly host: string;
  readonly api: Api;
  /** A path in the suite's folder, which goes away with everything in it. */
  path(name: string): string;
  /** Runs a program with an environment of its own: no credentials, no configuration of the user. */
  run(argv: readonly string[], options?: CommandOptions): Promise<Output>;
  /** Runs a program that must fail and returns what it printed. */
  refused(argv: readonly string[], options?: CommandOptions): Promise<string>;
  readonly env: Readonly<Record<string, string>>;
  /** Has `cleanup` run after the suite's tests, before its folder and its registry go. */
  defer(cleanup: () => Promise<void>): void;
}

const absolute = ([program = "", ...rest]: readonly string[]): readonly string[] => [
  findTool(program) ?? program,
  ...rest,
];

/** skopeo, podman and buildah would first try mounts from places where an earlier run's registry kept a blob. */
const blobInfoCache = "/var/lib/containers/cache/blob-info-cache-v1.boltdb";

/** Settings of a registry that answers listings in pages of five: clients must follow `Link`. */
export const smallPages = {
  HOLDFAST_LIMITS_PAGE_ENTRIES: "5",
  HOLDFAST_LIMITS_CATALOG_ENTRIES: "5",
  HOLDFAST_LIMITS_REFERRERS_PAGE_BYTES: "65536",
} as const;

/**
 * Starts a registry with `env` before the suite's tests and stops it after them; two nodes behind a balancer where
 * the suite runs on shared engines.
 *
 * HOLDFAST_TEST_URL names a running registry to use instead: an aid to try the tests on another one.
 */
export function useLab(env: Readonly<Record<string, string>> = {}): Lab {
  let url = "";
  let dir = "";
  let stop = async (): Promise<void> => {};
  const deferred: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    // Short and in lower case: podman limits the path of its run root and takes a path for a repository.
    dir = join(tmpdir(), `holdfast-${crypto.randomUUID().slice(0, 8)}`);
    for (const name of ["home", "tmp", "run"]) await mkdir(join(dir, name), { recursive: true });
    await rm(blobInfoCache, { force: true });
    const running = process.env["HOLDFAST_TEST_URL"];
    if (running === undefined) {
      const kind = storesOfSuite();
      if (kind === undefined) {
        const server = await startServer({ workers: 2, env });
        url = server.url;
        stop = () => server.stop();
      } else {
        const shared = await startBalanced(kind, { env });
        ({ url } = shared.balancer);
        stop = async () => shared[Symbol.asyncDispose]();
      }
    } else {
      url = running;
    }
  }, 30_000);

  const removeFolder = async (): Promise<void> => {
    if (dir === "") return;
    // A storage driver that was interrupted may leave a mount, which rm could not remove.
    const mounts = (await Bun.file("/proc/self/mounts").text()).split("\n");
    const ours = mounts
      .map((line) => line.split(" ")[1] ?? "")
      .filter((path) => path.startsWith(`${dir}/`));
    for (const mount of ours.reverse())
      await attempt(["umount", "-l", mount], { env: { PATH: toolPath } });
    await rm(dir, { recursive: true, force: true });
  };

  afterAll(async () => {
    try {
      for (const cleanup of deferred.reverse()) await cleanup();
      await stop();
    } finally {
      await removeFolder();
    }
  }, 60_000);

  const environment = (): Record<string, string> => ({
    PATH: toolPath,
    HOME: join(dir, "home"),
    TMPDIR: join(dir, "tmp"),
    XDG_RUNTIME_DIR: join(dir, "run"),
    LANG: "C.UTF-8",
  });
  const within = (options: CommandOptions = {}): CommandOptions => ({
    cwd: dir,
    ...options,
    env: { ...environment(), ...options.env },
  });

  return {
    get host() {
      return new URL(url).host;
    },
    get api() {
      return new Api(url);
    },
    get env() {
      return environment();
    },
    defer: (cleanup) => void deferred.push(cleanup),
    path: (name) => join(dir, name),
    run: (argv, options) => run(absolute(argv), within(options)),
    refused: (argv, options) => refused(absolute(argv), within(options)),
  };
}
