/** docs/two-nodes.md, followed to the letter by an ordinary user. */
import { expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { describeWith, findTool, toolPath } from "../clients/support/tools.ts";
import { signal } from "../support/processes.ts";

const ROOT = join(import.meta.dir, "../..");
const BLOCK = /^```sh\n([\s\S]*?)^```$/gm;

function blocks(): string {
  const text = readFileSync(join(ROOT, "docs/two-nodes.md"), "utf8");
  return [...text.matchAll(BLOCK)].map(([, code]) => code).join("\n");
}

/** The user that has PostgreSQL's server: its programs refuse to run as root. */
function ordinaryUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (userInfo().uid !== 0) return undefined;
  const id = (flag: string): number =>
    Number(Bun.spawnSync(["id", flag, "postgres"]).stdout.toString());
  return { uid: id("-u"), gid: id("-g") };
}

/** Whoever works in a folder: what a failure in the middle leaves behind. */
function processesIn(folder: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
      } catch {
        return false;
      }
    });
}

function logOf(home: string, name: string): string {
  try {
    return readFileSync(join(home, "two-nodes", name), "utf8");
  } catch {
    return `(no ${name})`;
  }
}

describeWith(["nginx", "skopeo", "versitygw", "curl", "psql"], "the two-node how-to", () => {
  test("does what it says, from nothing to a rebuilt database", async () => {
    const home = mkdtempSync(join(tmpdir(), "holdfast-how-to-"));
    const user = ordinaryUser();
    if (user !== undefined) chownSync(home, user.uid, user.gid);
    chmodSync(home, 0o755);
    const script = join(home, "how-to.sh");
    writeFileSync(
      script,
      `set -ex\nPATH=${dirname(findTool("versitygw") ?? "")}:$PATH\n${blocks()}`,
    );
    // A group of its own, so that whatever a failure leaves behind can be ended.
    const group = Bun.spawn(["setsid", "--wait", "bash", script], {
      cwd: home,
      env: { HOME: home, XDG_RUNTIME_DIR: home, PATH: toolPath, HOLDFAST: ROOT },
      stdin: "ignore",
      stdout: Bun.file(join(home, "out")),
      stderr: Bun.file(join(home, "err")),
      ...user,
    });
    try {
      const code = await group.exited;
      const logs = [1, 2].map((n) => logOf(home, `node${n}.log`)).join("\n");
      const said = `${readFileSync(join(home, "out"), "utf8")}\n${readFileSync(join(home, "err"), "utf8")}`;
      expect(code, `${said}\n${logs}`).toBe(0);
      expect(said).toContain("Metadata and stored bytes agree.");
    } finally {
      for (const pid of processesIn(home)) signal(pid, "SIGKILL");
      rmSync(home, { recursive: true, force: true });
    }
  });
});
