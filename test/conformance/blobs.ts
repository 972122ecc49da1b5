import { randomBytes } from "node:crypto";
import { patchChunked, threeChunks } from "./chunked.ts";
import { digestOf, type Algorithm } from "./digest.ts";
import { expectStatus } from "./expect.ts";
import { rangeChecks } from "./ranges.ts";
import { Declined, type Report } from "./report.ts";
import { blobUrl, deleteBlob, getBlob, headBlob, pushBlob, type Place } from "./steps.ts";
import { cancel, mount, patchStream, postOnly, postPut, type Push } from "./uploads.ts";

/** Every way to push, pull, mount, cancel and delete a blob of one digest algorithm. */
export async function blobChecks(
  report: Report,
  algorithm: Algorithm,
  place: Place,
  source: Place,
): Promise<void> {
  const some = (size: number): Push => {
    const bytes = randomBytes(size);
    return { ...place, bytes, digest: digestOf(bytes, algorithm) };
  };
  /** One way to push; when it worked the blob is read back, and in any case deleted. */
  const tryWay = async (name: string, push: Push, way: () => Promise<unknown>): Promise<void> => {
    await report.group(name, async (report) => {
      const pushed = await report.check("push", async () => {
        await way();
      });
      await readBack(report, place, push, pushed);
    });
  };

  const absent = some(512);
  await report.check("get-missing", async () => {
    const url = blobUrl(place, absent.digest);
    expectStatus(await place.client.send({ method: "GET", url }), 404);
  });
  let push = some(512);
  await tryWay("post only", push, () => postOnly(push));
  push = some(512);
  await tryWay("post+put", push, () => postPut(push));
  push = some(512);
  let minimum = 0;
  await tryWay("chunked single", push, async () => {
    minimum = await patchChunked(push);
  });
  push = some(512);
  await tryWay("stream", push, () => patchStream(push));
  await mountChecks(report, some, place, source);
  await report.group("post cancel", async (report) => {
    await report.check("blob-post-cancel", () => cancel(absent));
    await deleteBlob(report, place, absent.digest);
  });
  for (const [name, options] of [
    ["chunked multi", {}],
    ["chunked multi and put chunk", { putLast: true }],
    ["chunked out-of-order", { disorder: true }],
    ["chunked out-of-order and put chunk", { putLast: true, disorder: true }],
  ] as const) {
    const push = some(threeChunks(minimum));
    await tryWay(name, push, () => patchChunked(push, options));
  }
  await report.group("range requests", async (report) => {
    await rangeChecks(report, place, some(2048));
  });
  for (const [name, text] of [
    ["empty", ""],
    ["emptyJSON", "{}"],
  ] as const) {
    const bytes = Buffer.from(text);
    const push = { ...place, bytes, digest: digestOf(bytes, algorithm) };
    await report.group(name, async (report) => {
      await pushBlob(report, push);
      await readBack(report, place, push, true);
    });
  }
  for (const [name, way] of [
    ["post only", postOnly],
    ["post+put", postPut],
    ["chunked", (wrong: Push) => patchChunked(wrong)],
    ["chunked and put chunk", (wrong: Push) => patchChunked(wrong, { putLast: true })],
    ["stream", patchStream],
  ] as const) {
    await report.check(`bad digest ${name}`, async () => {
      const right = some(threeChunks(minimum));
      const bytes = Buffer.concat([right.bytes, Buffer.from("oh no")]);
      await way({ ...right, bytes, wrong: true });
    });
  }
}

async function mountChecks(
  report: Report,
  some: (size: number) => Push,
  place: Place,
  source: Place,
): Promise<void> {
  for (const [name, from] of [
    ["mount", source.repo],
    ["mount anonymous", undefined],
  ] as const) {
    const push = some(512);
    await report.group(name, async (report) => {
      await pushBlob(report, { ...push, repo: source.repo });
      const mounted = await report.check("blob-mount", () => mount(push, from));
      await readBack(report, place, push, mounted);
      await report.group("source", (report) => deleteBlob(report, source, push.digest));
    });
  }
  const push = some(512);
  await report.group("mount missing", async (report) => {
    const refused = await report.check("blob-mount", async () => {
      try {
        await mount(push, source.repo);
      } catch (error) {
        if (error instanceof Declined) {
          return;
        }
        throw error;
      }
      throw new Error("a blob that no repository holds was mounted");
    });
    await readBack(report, place, push, refused);
  });
}

async function readBack(report: Report, place: Place, push: Push, pushed: boolean): Promise<void> {
  if (pushed) {
    await headBlob(report, place, push.digest, push.bytes);
    await getBlob(report, place, push.digest, push.bytes);
  }
  await deleteBlob(report, place, push.digest);
}
