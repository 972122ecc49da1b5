import type { Figure } from "../bench.ts";
import { manifestGet } from "./01-manifest-get.ts";
import { smallBlobGet } from "./02-small-blob-get.ts";
import { largeBlobGet } from "./03-large-blob-get.ts";
import { largePush } from "./04-large-push.ts";
import { imagePush } from "./05-image-push.ts";
import { manifestPut } from "./06-manifest-put.ts";
import { listings } from "./07-listings.ts";
import { memoryUse } from "./08-memory.ts";
import { getsBesideUploads } from "./09-gets-beside-uploads.ts";

/** In the order they run: memory last, because it reports the peaks of all others. */
export const figures: readonly Figure[] = [
  manifestGet,
  smallBlobGet,
  largeBlobGet,
  largePush,
  imagePush,
  getsBesideUploads,
  manifestPut,
  listings,
  memoryUse,
];
