import type { Bench, Figure, Target } from "../bench.ts";
import { manifestGets } from "../figures/01-manifest-get.ts";
import { smallBlobGets } from "../figures/02-small-blob-get.ts";
import { largeBlobGets } from "../figures/03-large-blob-get.ts";
import { largePushes } from "../figures/04-large-push.ts";
import { imagePushes } from "../figures/05-image-push.ts";
import { peaks } from "../figures/08-memory.ts";
import { bothForms, measure } from "../forms.ts";
import { target } from "../targets.ts";
import { throughNonHolder } from "./through.ts";

const mega = 1e6;

/** The greatest that any node has been, without its etcd. */
const nodeMemory = ({ peaks: highest }: Bench): Target[] => {
  const nodes = [highest.get("holdfast"), highest.get("three nodes")];
  const most = Math.max(0, ...nodes.map((peak) => peak?.peakNodeRss ?? 0));
  return target(8, "RSS of a node through the bench", most / mega, { atMost: 250 }, "MB");
};

/** Those of the solo bench that the issue has targets for, by the same numbers. `port` is the first of those for a second cluster. */
export const clusterFigures = (port: number): readonly Figure[] => [
  measure(1, "manifest GET", manifestGets, (lines) =>
    lines.slice(0, 1).flatMap((line) => bothForms(line, "rate", { atLeast: 3 })),
  ),
  measure(
    2,
    "512-byte blob GET",
    async (bench) => [await smallBlobGets(bench)],
    () => [],
  ),
  measure(
    3,
    "1 GiB blob GET",
    async (bench) => [await largeBlobGets(bench), await throughNonHolder(bench, port)],
    ([held, through]) => [
      ...(held === undefined ? [] : bothForms(held, "bytes/s", { atLeast: 1 })),
      ...(through === undefined ? [] : bothForms(through, "bytes/s", { atLeast: 0.4 })),
    ],
  ),
  measure(4, "1 GiB push", largePushes, (lines) =>
    lines.flatMap((line) => bothForms(line, "time", { atMost: 1.5 })),
  ),
  measure(5, "small image pushes", imagePushes, (lines) =>
    lines
      .filter(({ name }) => name.endsWith("8 clients"))
      .flatMap((line) => bothForms(line, "rate", { atLeast: 1.5 })),
  ),
  {
    id: 8,
    title: "memory",
    run: async (bench) => ({ lines: peaks(bench).lines, targets: nodeMemory(bench) }),
  },
];
