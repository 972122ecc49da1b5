import { blobChecks } from "./blobs.ts";
import { Client } from "./client.ts";
import { dataSetChecks } from "./data-checks.ts";
import { dataSetNames, makeDataSet } from "./data-sets.ts";
import { emptyChecks, invalidDigestChecks, missingManifestChecks, pingChecks } from "./errors.ts";
import { Report, type CheckResult } from "./report.ts";
import type { Place } from "./steps.ts";

export interface ConformanceOptions {
  /** Where the registry answers, as `http://host:port`. */
  readonly url: string;
  /** A repository that nothing was pushed to. */
  readonly repo1: string;
  /** Another one, to mount from. */
  readonly repo2: string;
  /** Also push manifests that name blobs and manifests the registry does not have. */
  readonly sparse?: boolean;
  /** Run only the checks whose name starts so. */
  readonly only?: string;
}

type Group = readonly [name: string, run: (report: Report) => Promise<void>];

/** The names of the top-level groups, in the order they run. */
export function conformanceGroups(sparse: boolean): string[] {
  return [
    "ping",
    "empty",
    "sha256 blobs",
    "sha512 blobs",
    ...dataSetNames(sparse),
    "missing-manifest",
    "invalid-digest-format",
  ];
}

/**
 * Runs every check of the specification's conformance suite, as its `dev` version states them, against a
 * registry without authentication, and deletes what it pushed.
 */
export async function runConformance(options: ConformanceOptions): Promise<CheckResult[]> {
  const client = new Client(options.url);
  const report = new Report(options.only);
  try {
    for (const [name, run] of groups(client, options)) {
      await report.group(name, run);
    }
  } finally {
    client.close();
  }
  return report.results;
}

function groups(client: Client, { repo1, repo2, sparse = false }: ConformanceOptions): Group[] {
  const place: Place = { client, repo: repo1 };
  const source: Place = { client, repo: repo2 };
  const special: Readonly<Record<string, Group[1]>> = {
    ping: (report) => pingChecks(report, place),
    empty: (report) => emptyChecks(report, place),
    "sha256 blobs": (report) => blobChecks(report, "sha256", place, source),
    "sha512 blobs": (report) => blobChecks(report, "sha512", place, source),
    "missing-manifest": (report) => missingManifestChecks(report, place),
    "invalid-digest-format": (report) => invalidDigestChecks(report, place),
  };
  return conformanceGroups(sparse).map((name) => [
    name,
    special[name] ?? ((report) => dataSetChecks(report, place, makeDataSet(name))),
  ]);
}
