import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Count, Line, Summary, Target } from "./bench.ts";
import type { Machine } from "./machine.ts";

/** What a kind of run calls itself. */
export interface Heading {
  /** Of its files. */
  readonly name: string;
  readonly title: string;
  /** How it is measured, in sentences. */
  readonly method: string;
}

export interface Report {
  readonly heading: Heading;
  readonly machine: Machine;
  readonly quick: boolean;
  readonly targets: readonly Target[];
  readonly lines: readonly Line[];
  readonly counts: readonly Count[];
  /** Figures that could not be measured, and why. */
  readonly broken: readonly string[];
}

type Row = readonly string[];

/** A Markdown table whose columns also line up as plain text. */
const table = (head: Row, rows: readonly Row[]): string => {
  const widths = head.map((title, n) =>
    Math.max(title.length, 3, ...rows.map((row) => row[n]?.length ?? 0)),
  );
  const render = (row: Row): string =>
    `| ${widths.map((width, n) => (row[n] ?? "").padEnd(width)).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [render(head), rule, ...rows.map(render)].join("\n");
};

/** Three significant digits, thousands separated. */
const short = (value: number): string =>
  value >= 1000
    ? Math.round(value).toLocaleString("en-US")
    : value >= 100
      ? value.toFixed(0)
      : value.toPrecision(3);

const duration = (seconds: number): string => {
  if (seconds >= 0.1) return `${short(seconds)} s`;
  return seconds >= 1e-3 ? `${short(seconds * 1e3)} ms` : `${short(seconds * 1e6)} µs`;
};

const millis = (seconds: number | undefined): string =>
  seconds === undefined ? "" : short(seconds * 1000);

const storesOf = ({ stores = {} }: Summary): string =>
  Object.entries(stores)
    .map(([name, seconds]) => `${name} ${duration(seconds)}`)
    .join(", ");

const figureRow = (line: Line, server: string, summary: Summary, withStores: boolean): Row => {
  const peer = line.servers.distribution;
  const ratio =
    peer === undefined || server === "distribution" ? "" : short(summary.value / peer.value);
  return [
    `${line.figure}. ${line.name}`,
    server,
    `${short(summary.value)} ${line.unit}`,
    ratio,
    millis(summary.p50),
    millis(summary.p99),
    summary.cpuSeconds === 0 ? "" : summary.cpuSeconds.toFixed(2),
    summary.cpuSeconds === 0 ? "" : `${duration(summary.cpuPerWork)}/${line.work}`,
    ...(withStores ? [storesOf(summary)] : []),
    short(summary.peakPss / 1e6),
    short(summary.peakRss / 1e6),
  ];
};

const countRow = ({ what, server, operations }: Count): Row => {
  const parts = Object.entries(operations);
  const total = parts.reduce((sum, [, count]) => sum + count, 0);
  const round = (count: number): string => String(Math.round(count * 100) / 100);
  return [what, server, round(total), parts.map(([name, n]) => `${name} ${round(n)}`).join(", ")];
};

const countTable = (counts: readonly Count[]): string[] =>
  counts.length === 0
    ? []
    : [
        "",
        "## S3 requests per image",
        "",
        table(["work", "server", "requests", "of which"], counts.map(countRow)),
      ];

export const markdown = (report: Report): string => {
  const { heading, machine, quick, targets, lines, counts, broken } = report;
  const withStores = lines.some(({ servers }) =>
    Object.values(servers).some(({ stores }) => stores !== undefined),
  );
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const targetRows = targets.map(({ figure, what, wanted, measured, ok }) => [
    `${figure}. ${what}`,
    wanted,
    measured,
    ok ? "ok" : "missed",
  ]);
  const lineRows = lines.flatMap((line) =>
    Object.entries(line.servers).map(([server, summary]) =>
      figureRow(line, server, summary, withStores),
    ),
  );
  const head = [
    "figure",
    "server",
    "measured",
    "× distribution",
    "p50 ms",
    "p99 ms",
    "CPU s",
    "CPU per unit",
    ...(withStores ? ["stores' CPU per unit"] : []),
    "peak PSS MB",
    "peak RSS MB",
  ];
  return [
    `# ${heading.title}`,
    quick ? "A shortened run (`--quick`): its figures show that the bench works, no more.\n" : "",
    `- ${machine.date}, commit ${machine.commit}, \`${machine.command}\``,
    `- ${machine.cpu}; servers and clients share the cores ${machine.cores}; ${machine.memoryGb} GB; Linux ${machine.kernel}; ${machine.disk}`,
    `- ${versions.join(", ")}`,
    "",
    `Servers are loaded one at a time, in alternating rounds, with the same clients and loads; figures are medians over the rounds, CPU is the server's whole process tree over all rounds, memory its highest sum. ${heading.method}`,
    "",
    "## Targets",
    "",
    table(["target, Holdfast to distribution", "wanted", "measured", ""], targetRows),
    "",
    "## Figures",
    "",
    table(head, lineRows),
    ...countTable(counts),
    ...(broken.length === 0 ? [] : ["", "## Broken", "", ...broken.map((what) => `- ${what}`)]),
    "",
  ].join("\n");
};

/** Writes the report as JSON and as Markdown into a directory. */
export const writeReport = (dir: string, report: Report): void => {
  mkdirSync(dir, { recursive: true });
  writeFileSync(
    join(dir, `${report.heading.name}.json`),
    `${JSON.stringify(report, undefined, 2)}\n`,
  );
  writeFileSync(join(dir, `${report.heading.name}.md`), markdown(report));
};
