import {
  chmodSync,
  existsSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "bun:test";
import manifest from "../../package.json" with { type: "json" };
import { keys, SCHEMA_VERSION } from "../../src/meta/keys.ts";
import { openWriter } from "../../src/meta/sqlite/index.ts";
import { runHoldfast } from "../support/failed-start.ts";
import { BUN, MAIN, freePort, until } from "../support/processes.ts";
import { startServer } from "../support/server.ts";

const home = mkdtempSync(join(tmpdir(), "holdfast-start-"));
chmodSync(home, 0o755);
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** `nobody` must be able to read the program. */
const canBeNobody =
  process.getuid?.() === 0 &&
  Bun.spawnSync(["setpriv", "--reuid=65534", "--clear-groups", "test", "-r", MAIN, "-a", "-x", BUN])
    .exitCode === 0;

function oneSentence(stderr: string): string {
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  expect(stderr).toStartWith("holdfast: ");
  return stderr;
}

describe("refused with one sentence that names the remedy:", () => {
  test("a second instance on the data directory, with the first one's process id", async () => {
    await using server = await startServer({ workers: 1 });
    const args = ["serve", "--listen", `127.0.0.1:${freePort()}`, "--data", server.data];
    const { code, stderr } = await runHoldfast(args);
    expect(code).toBe(1);
    expect(oneSentence(stderr)).toContain(`(process ${server.pid})`);
    expect(stderr).toContain(`serves the data directory ${server.data}: stop it, or`);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  });

  test("a second instance on the port", async () => {
    await using server = await startServer({ workers: 1 });
    const args = ["serve", "--listen", server.host, "--data", join(home, "second")];
    const { code, stderr } = await runHoldfast(args);
    expect(code).toBe(1);
    expect(oneSentence(stderr)).toContain(`already listens on ${server.host}: stop it, or`);
    expect(stderr).toContain("--listen");
  });

  test("the port of the metrics", async () => {
    using other = Bun.listen({ hostname: "127.0.0.1", port: freePort(), socket: { data() {} } });
    const args = ["serve", "--listen", `127.0.0.1:${freePort()}`, "--data", join(home, "third")];
    const env = { HOLDFAST_METRICS_LISTEN: `127.0.0.1:${other.port}` };
    const { code, stderr } = await runHoldfast(args, { env });
    expect(code).toBe(1);
    expect(oneSentence(stderr)).toContain("metrics.listen (HOLDFAST_METRICS_LISTEN)");
  });

  test("an address of another machine", async () => {
    const args = ["serve", "--listen", "192.0.2.1:5000", "--data", join(home, "fourth")];
    const { code, stderr } = await runHoldfast(args);
    expect(code).toBe(1);
    expect(oneSentence(stderr)).toContain("192.0.2.1:5000 is not an address of this machine");
  });

  test("a data directory that cannot be one", async () => {
    writeFileSync(join(home, "file"), "");
    const args = [
      "serve",
      "--listen",
      `127.0.0.1:${freePort()}`,
      "--data",
      join(home, "file/data"),
    ];
    const { code, stderr } = await runHoldfast(args);
    expect(code).toBe(1);
    expect(oneSentence(stderr)).toContain(
      `cannot write to the data directory ${home}/file/data (ENOTDIR): it, or what is above it, is no directory: choose another`,
    );
  });

  test.skipIf(!canBeNobody)("a data directory that may not be written", async () => {
    const args = ["serve", "--listen", `127.0.0.1:${freePort()}`, "--data", join(home, "mine")];
    const { code, stderr } = await runHoldfast(args, { asNobody: true });
    expect(code).toBe(1);
    expect(oneSentence(stderr)).toContain("(EACCES): give user id 65534 write access to it");
  });

  test.skipIf(!canBeNobody)("a privileged port", async () => {
    const data = mkdtempSync(join(home, "open-"));
    chmodSync(data, 0o777);
    const args = ["serve", "--listen", "127.0.0.1:443", "--data", data];
    const { code, stderr } = await runHoldfast(args, { asNobody: true });
    expect(code).toBe(1);
    expect(oneSentence(stderr)).toContain("CAP_NET_BIND_SERVICE");
  });

  test("a store that a newer Holdfast wrote", async () => {
    const data = mkdtempSync(join(home, "newer-"));
    const first = await startServer({ workers: 1, data });
    await first.stop();
    const path = join(data, "metadata/holdfast.db");
    const writer = openWriter({ path });
    const newer = SCHEMA_VERSION + 1;
    await writer.commit({ put: [{ key: keys.schema, value: `{"version":${newer}}` }] });
    await writer.close();
    const args = ["serve", "--listen", `127.0.0.1:${freePort()}`, "--data", data];
    const { code, stderr } = await runHoldfast(args);
    expect(code).toBe(1);
    expect(oneSentence(stderr)).toContain(
      `cannot open ${path}: the metadata has schema version ${newer}, this program knows up to ${SCHEMA_VERSION}: start the newer Holdfast that wrote it`,
    );
  });

  test("a damaged database", async () => {
    const data = mkdtempSync(join(home, "damaged-"));
    const first = await startServer({ workers: 1, data });
    await first.stop();
    writeFileSync(join(data, "metadata/holdfast.db"), "not a database".repeat(1000));
    const args = ["serve", "--listen", `127.0.0.1:${freePort()}`, "--data", data];
    const { code, stderr } = await runHoldfast(args);
    expect(code).toBe(1);
    expect(oneSentence(stderr)).toContain(`cannot open ${data}/metadata/holdfast.db: `);
    expect(stderr).toContain("is damaged");
    expect(stderr).toContain("restore the whole data directory from a backup");
  });
});

test("a configuration that cannot be used ends with 2 and one line a problem", async () => {
  const { code, stdout, stderr } = await runHoldfast(["serve", "--data", home, "--workers", "0"], {
    env: { HOLDFAST_LOG_LEVLE: "debug" },
  });
  expect(code).toBe(2);
  expect(stdout).toBe("");
  expect(stderr.trimEnd().split("\n")).toHaveLength(2);
  expect(stderr).toContain("HOLDFAST_LOG_LEVEL");
});

test("an unknown flag or command ends with 2", async () => {
  const flag = await runHoldfast(["serve", "--prot", "80"]);
  expect(flag).toMatchObject({ code: 2, stderr: expect.stringContaining("holdfast serve --help") });
  expect((await runHoldfast(["serve", "--listn", ":5000"])).code).toBe(2);
  expect((await runHoldfast(["sevre"])).code).toBe(2);
  const worker = await runHoldfast(["worker"]);
  expect(worker.code).toBe(2);
  expect(worker.stderr).toContain("holdfast serve");
});

test("the start says where the data is, where it listens and what runs", async () => {
  await using server = await startServer({ workers: 2 });
  await until(() => server.logs().includes('"ready"'), 2000, "the line that says ready");
  const ready = server
    .logs()
    .split("\n")
    .find((line) => line.includes('"ready"'));
  expect(JSON.parse(ready ?? "")).toMatchObject({
    listen: [server.url],
    data: server.data,
    workers: 2,
  });
  expect(server.logs()).toContain(`"version":"${manifest.version}"`);
});

test("a data directory that was moved away makes it not ready, and nothing is made in its place", async () => {
  const data = join(mkdtempSync(join(home, "moving-")), "data");
  await using server = await startServer({ workers: 1, data });
  renameSync(data, `${data}-moved`);
  await until(async () => !(await fetch(`${server.url}/readyz`)).ok, 4000, "not ready");
  const { reasons } = (await (await fetch(`${server.url}/readyz`)).json()) as { reasons: string[] };
  expect(reasons).toContainEqual(expect.stringContaining("is not what was opened at the start"));
  expect((await fetch(`${server.url}/v2/a/blobs/uploads/`, { method: "POST" })).status).toBe(202);
  const digest = new Bun.CryptoHasher("sha256").update("x").digest("hex");
  const push = `${server.url}/v2/a/blobs/uploads/?digest=sha256:${digest}`;
  expect((await fetch(push, { method: "POST", body: "x" })).status).toBe(503);
  expect(existsSync(data)).toBe(false);
  renameSync(`${data}-moved`, data);
  await until(async () => (await fetch(`${server.url}/readyz`)).ok, 15_000, "ready again");
});

describe("holdfast adopt says that it cannot do what it is asked:", () => {
  test("at a directory that is not there", async () => {
    const { code, stdout, stderr } = await runHoldfast(["adopt", "--data", join(home, "nowhere")]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(oneSentence(stderr)).toContain("(ENOENT): name the directory that the server uses");
  });

  test.skipIf(!canBeNobody)("at another user's", async () => {
    const data = mkdtempSync(join(home, "others-"));
    const args = ["adopt", "--finish", "--data", data];
    const { code, stdout, stderr } = await runHoldfast(args, { asNobody: true });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(oneSentence(stderr)).toContain("(EACCES): run this as the user that the server runs as");
  });

  test.each(["--dry-run", "--drop-damaged", "--status --finish"])(
    "with %p alone",
    async (flags) => {
      const { code, stdout } = await runHoldfast(["adopt", ...flags.split(" "), "--data", home]);
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    },
  );
});

describe("the command", () => {
  test("runs through a symbolic link from anywhere, and knows its version", () => {
    const link = join(home, "link");
    symlinkSync(join(MAIN, "../../bin/holdfast"), link);
    const { exitCode, stdout } = Bun.spawnSync([link, "--version"], { cwd: "/" });
    expect(exitCode).toBe(0);
    expect(stdout.toString()).toBe(`${manifest.version}\n`);
  });

  test("teaches with examples", async () => {
    expect((await runHoldfast(["--help"])).stdout).toContain("docker push localhost:5000/alpine");
    const { code, stdout } = await runHoldfast(["serve", "--help"]);
    expect(code).toBe(0);
    expect(stdout).toContain("holdfast serve --config /etc/holdfast.yml");
    expect(stdout).toContain("Exit codes");
  });
});

test.skipIf(process.getuid?.() !== 0)(
  "a full disk makes it not ready, and says so, until there is room",
  async () => {
    const disk = mkdtempSync(join(home, "disk-"));
    expect(Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk]).exitCode).toBe(
      0,
    );
    try {
      await using server = await startServer({ workers: 2, data: join(disk, "data") });
      Bun.spawnSync(["dd", "if=/dev/zero", `of=${disk}/filler`, "bs=64k"], { stderr: "ignore" });
      const isReady = async (): Promise<boolean> => (await fetch(`${server.url}/readyz`)).ok;
      await until(async () => !(await isReady()), 10_000, "not ready");
      const full = await fetch(`${server.url}/readyz`);
      const { reasons } = (await full.json()) as { reasons: string[] };
      expect(reasons).toContain("the disk of the data directory is full");
      rmSync(join(disk, "filler"));
      await until(isReady, 15_000, "ready again");
    } finally {
      Bun.spawnSync(["umount", "-l", disk]);
    }
  },
);
