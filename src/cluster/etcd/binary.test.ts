import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EtcdUnfit, findEtcd } from "./binary.ts";
import { isAtLeast, releaseObstacle } from "../../meta/etcd-releases.ts";

let home = "";
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "holdfast-etcd-binary-"));
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const program = (script: string, mode = 0o755): string => {
  const path = join(home, `etcd-${crypto.randomUUID()}`);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, mode);
  return path;
};
const saying = (version: string): string => program(`echo "etcd Version: ${version}"`);
const refusal = async (path: string): Promise<string> => {
  const error = await findEtcd(path).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(EtcdUnfit);
  return error instanceof Error ? error.message : "";
};

describe("the program", () => {
  test.each(["3.4.0", "3.4.23", "3.5.3", "3.5.12+dfsg", "3.6.0-rc.1", "4.0.0"])(
    "%s will do",
    async (version) => {
      const path = saying(version);
      expect(await findEtcd(path)).toEqual({ path, version });
    },
  );

  test.each(["2.3.8", "3.3.27", "3.5.0", "3.5.1", "3.5.2", "3.5.2-rc.1"])(
    "%s is refused",
    async (version) => {
      const said = await refusal(saying(version));
      expect(said).toContain(`etcd ${version} at ${home}`);
      expect(said).toContain("apt-get install etcd-server");
      expect(said).toContain("cluster.etcd.binary");
    },
  );

  test("that is another program is refused with what it says", async () => {
    expect(await refusal(program("echo 'no etcd at all'; exit 3"))).toContain("no etcd at all");
    expect(await refusal(program("echo 'Exec format' >&2; exit 1"))).toContain("Exec format");
  });

  test("that is missing or not executable is refused by its name", async () => {
    for (const path of [join(home, "missing"), program("true", 0o644)])
      expect(await refusal(path)).toContain(`"${path}", named in cluster.etcd.binary`);
  });
});

test("releases are compared by number", () => {
  expect(isAtLeast("3.10.0", 3, 6)).toBe(true);
  expect(isAtLeast("4.0.0", 3, 6)).toBe(true);
  expect(isAtLeast("3.5.30", 3, 6)).toBe(false);
  expect(releaseObstacle("unknown")).toContain("3.4 is the oldest");
});
