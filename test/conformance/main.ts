import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { runConformance } from "./suite.ts";

const USAGE = `usage: bun test/conformance/main.ts URL [--sparse] [--json] [--only PREFIX]

Runs the OCI distribution-spec conformance checks against the registry at URL (http://host:port, no
authentication), in two new repositories. Prints the checks that failed or were skipped and a summary.

  --sparse       also push manifests with missing blobs and children
  --json         print every result as JSON instead
  --only PREFIX  run only the checks whose name starts so, e.g. "sha512 blobs/mount"
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sparse: { type: "boolean" },
    json: { type: "boolean" },
    only: { type: "string" },
  },
});
const [url] = positionals;
if (url === undefined) {
  console.error(USAGE);
  process.exit(2);
}
const base = `conformance/${randomBytes(6).toString("hex")}`;
const started = performance.now();
const results = await runConformance({
  url,
  repo1: `${base}/repo1`,
  repo2: `${base}/repo2`,
  sparse: values.sparse ?? false,
  ...(values.only === undefined ? {} : { only: values.only }),
});
const count = (status: string): number => results.filter((each) => each.status === status).length;
if (values.json === true) {
  console.log(JSON.stringify(results, null, 2));
} else {
  for (const { name, status, detail } of results.filter((each) => each.status !== "pass")) {
    console.log(`${status.padEnd(4)} ${name}: ${detail ?? ""}`);
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `${results.length} checks: ${count("pass")} passed, ${count("fail")} failed, ` +
      `${count("skip")} skipped in ${seconds} s`,
  );
}
process.exit(results.length === 0 || count("fail") > 0 ? 1 : 0);
