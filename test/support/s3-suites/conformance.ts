/** Both ports of bytes on a real S3 server. */
import { objectStoreConformance } from "../../../src/blobs/conformance-objects.ts";
import { blobStoreConformance } from "../../../src/blobs/conformance.ts";
import { openS3Objects } from "../../../src/blobs/s3/index.ts";
import { describeWith } from "../../clients/support/tools.ts";
import { optionsOf, type S3Kind } from "../s3-kinds.ts";
import { openNodes } from "../s3-stores.ts";

export function s3ConformanceSuite(kind: S3Kind, prefixes: readonly string[]): void {
  describeWith(kind.programs, kind.name, () => {
    for (const prefix of prefixes) {
      blobStoreConformance(`s3, prefix "${prefix}"`, async () => {
        const place = await kind.open();
        const nodes = openNodes({ ...optionsOf(place), prefix });
        return {
          store: await nodes.node("one"),
          other: await nodes.node("two"),
          async close() {
            await nodes.close();
            await place[Symbol.asyncDispose]();
          },
        };
      });
    }

    objectStoreConformance("s3", async () => {
      const place = await kind.open();
      const options = { ...optionsOf(place), prefix: "o/", ifNoneMatch: true };
      return {
        store: openS3Objects(options),
        other: openS3Objects(options),
        conditional: kind.hasOneWinner,
        close: async () => place[Symbol.asyncDispose](),
      };
    });
  });
}
