/**
 * `npm test [-- suite …]`: sets up what the suites need, runs them one after the other, and closes with a table
 * and the line `N passed, N failed`. In CI nothing may be skipped and every suite must have run something.
 */
import { join } from "node:path";
import { SUITES, type Suite } from "./suites.ts";

const ROOT = join(import.meta.dir, "..");
/** Starts the servers that the tests of a process share, and ends them. */
const SHARED_SERVERS = "./test/support/shared-place.ts";

interface Outcome {
  readonly suite: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly minutes: number;
  /** What the runner printed of each failed test. */
  readonly failures: readonly string[];
}

const LINES_OF_A_FAILURE = 30;

async function run(suite: Suite): Promise<Outcome> {
  console.log(`\n=== ${suite.name}`);
  const started = Date.now();
  const child = Bun.spawn(
    [
      process.execPath,
      "test",
      "--preload",
      SHARED_SERVERS,
      "--timeout",
      `${suite.patience * 1000}`,
      ...(suite.lanes === undefined ? [] : [`--parallel=${suite.lanes}`, "--no-isolate"]),
      ...suite.paths,
    ],
    {
      cwd: ROOT,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, HOLDFAST_TEST_STORES: suite.stores },
    },
  );
  const [out, err] = await Promise.all([tee(child.stdout), tee(child.stderr)]);
  const code = await child.exited;
  const text = `${out}\n${err}`;
  const count = (word: string): number =>
    [...text.matchAll(new RegExp(`^ *(\\d+) ${word}$`, "gm"))].reduce(
      (n, m) => n + Number(m[1]),
      0,
    );
  const [passed, reported, skipped] = [count("pass"), count("fail"), count("skip")];
  // A runner that died, or found nothing, has not passed.
  const broken = (code !== 0 && reported === 0) || passed + reported + skipped === 0;
  const failed = reported + (broken ? 1 : 0);
  const minutes = (Date.now() - started) / 60_000;
  return { suite: suite.name, passed, failed, skipped, minutes, failures: failuresIn(text) };
}

/** The end of what was printed since the test before. */
function failuresIn(text: string): string[] {
  const failures: string[] = [];
  let block: string[] = [];
  for (const line of text.split("\n")) {
    // The runner lists them once more.
    if (/^\d+ tests failed:$/.test(line)) break;
    block.push(line);
    if (line.startsWith("(fail)")) failures.push(block.slice(-LINES_OF_A_FAILURE).join("\n"));
    if (/^\((?:pass|fail|skip)\)/.test(line)) block = [];
  }
  return failures;
}

/** Shows a stream as it comes and keeps it. */
async function tee(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    process.stdout.write(chunk);
    text += decoder.decode(chunk, { stream: true });
  }
  return text;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !SUITES.some((suite) => suite.name === name));
if (unknown.length > 0) {
  console.error(
    `unknown suite ${unknown.join(", ")}; there are ${SUITES.map((s) => s.name).join(", ")}`,
  );
  process.exit(2);
}
const SETUP = join(ROOT, "scripts/setup.sh");
const servers = Bun.spawnSync(["bash", SETUP, "servers"], {
  stdio: ["ignore", "inherit", "inherit"],
});
if (servers.exitCode !== 0) process.exit(servers.exitCode);

// Building the clients takes minutes on a new machine; suites that only ask our own code do not mind.
let clients: Bun.Subprocess | undefined;
const outcomes: Outcome[] = [];
for (const suite of SUITES) {
  if (wanted.length > 0 && !wanted.includes(suite.name)) continue;
  if (suite.name !== "unit") {
    clients ??= Bun.spawn(["nice", "-n", "15", "bash", SETUP], {
      stdio: ["ignore", "inherit", "inherit"],
    });
  }
  if (suite.clients === true && (await clients?.exited) !== 0) process.exit(1);
  outcomes.push(await run(suite));
}
if (clients !== undefined && (await clients.exited) !== 0) process.exit(1);

const sum = (pick: (outcome: Outcome) => number): number =>
  outcomes.reduce((n, o) => n + pick(o), 0);
const strict = process.env["CI"] !== undefined;
const skipped = sum((o) => o.skipped);
const failed = sum((o) => o.failed) + (strict ? skipped : 0);
// Once more, where it is found: above the table.
for (const { suite, failures } of outcomes)
  for (const failure of failures) console.log(`\n=== failed in ${suite}\n${failure}`);
console.log("\nsuite               passed  failed  skipped  minutes");
for (const o of outcomes) {
  const cells = [o.passed, o.failed, o.skipped].map((n) => String(n).padStart(7)).join(" ");
  console.log(`${o.suite.padEnd(18)} ${cells} ${o.minutes.toFixed(1).padStart(8)}`);
}
if (strict && skipped > 0) console.log(`${skipped} tests were skipped; in CI that is a failure`);
console.log(`\n${sum((o) => o.passed)} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
