import type { Figure } from "../bench.ts";
import { largeBlobGets } from "../figures/03-large-blob-get.ts";
import { imagePushes } from "../figures/05-image-push.ts";
import { largePushes } from "../figures/04-large-push.ts";
import { manifestGets } from "../figures/01-manifest-get.ts";
import { peaks } from "../figures/08-memory.ts";
import { bothForms, measure } from "../forms.ts";
import { s3Requests } from "./requests.ts";
import type { SharedStores } from "./stores.ts";

/** Those of the solo bench that the issue has targets for, by the same numbers, and the S3 requests. */
export const sharedFigures = (stores: SharedStores, port: number): readonly Figure[] => [
  measure(1, "manifest GET", manifestGets, (lines) =>
    lines.slice(0, 1).flatMap((line) => bothForms(line, "rate", { atLeast: 3 })),
  ),
  measure(4, "1 GiB push", largePushes, (lines) =>
    lines.flatMap((line) => bothForms(line, "time", { atMost: 0.6 })),
  ),
  measure(
    3,
    "1 GiB blob GET",
    async (bench) => [await largeBlobGets(bench)],
    (lines) => lines.flatMap((line) => bothForms(line, "bytes/s", { atLeast: 1 })),
  ),
  measure(5, "small image pushes", imagePushes, (lines) =>
    lines
      .filter(({ name }) => name.endsWith("8 clients"))
      .flatMap((line) => bothForms(line, "rate", { atLeast: 3 })),
  ),
  measure(
    8,
    "memory",
    async (bench) => peaks(bench).lines,
    () => [],
  ),
  s3Requests(stores, port),
];
