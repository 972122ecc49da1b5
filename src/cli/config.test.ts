import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "bun:test";
import { parse } from "yaml";

const cwd = mkdtempSync(join(tmpdir(), "holdfast-config-cli-"));
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

const program = join(cwd, "program.ts");
writeFileSync(
  program,
  `import { configCommand } from ${JSON.stringify(join(import.meta.dir, "config.ts"))};
await configCommand().parseAsync(process.argv.slice(2), { from: "user" });`,
);

/** Runs the command in a process of its own. */
function run(args: readonly string[], env: Record<string, string> = {}) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, program, ...args], {
    cwd,
    env,
  });
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

test("check says that nothing is good enough", () => {
  expect(run(["check"])).toEqual({
    exitCode: 0,
    stdout: "The configuration is good (no file: defaults, variables and flags).\n",
    stderr: "",
  });
});

test("check names every problem on a line of its own and ends with 2", () => {
  writeFileSync(join(cwd, "bad.yml"), "lisen: x\nworkers: 0\n");
  const { exitCode, stdout, stderr } = run(["check", "bad.yml"]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  expect(stderr.split("\n")).toEqual([
    `${cwd}/bad.yml:1: lisen: this key is not known; the nearest known key is listen.`,
    `${cwd}/bad.yml:2: workers: 0 is not accepted; it takes a whole number from 1 to 256.`,
    "",
  ]);
});

test("check names the file, and reads the TLS pair", () => {
  const file = join(cwd, "tls.yml");
  writeFileSync(file, "tls: { cert: none.crt, key: none.key }\n");
  const { exitCode, stderr } = run(["check", "tls.yml"]);
  expect(exitCode).toBe(2);
  expect(stderr).toStartWith("cannot read tls.");
  const openssl =
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x -keyout none.key -out none.crt";
  expect(Bun.spawnSync(["openssl", ...openssl.split(" ")], { cwd }).exitCode).toBe(0);
  const good = run(["check", "tls.yml"]);
  expect(good).toMatchObject({ exitCode: 0, stdout: `The configuration is good (${file}).\n` });
  expect(good.stderr).toContain(`${cwd}/none.crt expires within 2 days`);
});

test("check names what is skipped", () => {
  const { exitCode, stderr } = run(["check"], { REGISTRY_HTTP_SECRET: "hunter2" });
  expect(exitCode).toBe(0);
  expect(stderr).toStartWith("REGISTRY_HTTP_SECRET: http.secret is skipped: ");
  expect(stderr).not.toContain("hunter2");
});

test("print takes flags and variables, and shows who set what", () => {
  const flags = ["--listen", ":1", "--listen", ":2", "--workers", "3", "--log-level", "warn"];
  const { exitCode, stdout } = run(["print", ...flags], { HOLDFAST_DATA: "/srv/x" });
  expect(exitCode).toBe(0);
  expect(stdout).toContain('listen: [":1", ":2"] # --listen\n');
  expect(stdout).toContain("data: /srv/x # HOLDFAST_DATA\n");
  expect(parse(stdout)).toMatchObject({ workers: 3, log: { level: "warn" } });
});

test("a file that is not there is named with the remedy", () => {
  const { exitCode, stderr } = run(["print", "--config", "none.yml"]);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(
    /^.*none\.yml: the configuration file cannot be read .*--config or HOLDFAST_CONFIG/,
  );
});

test("schema prints a JSON Schema", () => {
  const { exitCode, stdout } = run(["schema"]);
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toHaveProperty("properties.listen.default", ":5000");
});

test("help teaches where values come from", () => {
  expect(run(["--help"]).stdout).toContain("HOLDFAST_LOG_LEVEL=debug sets log.level");
  expect(run(["print", "--help"]).stdout).toContain("--listen <address>");
  expect(run(["check", "--help"]).stdout).not.toContain("--listen");
});
