import { expectBody, expectHeader, expectStatus } from "./expect.ts";
import { Declined, type Report } from "./report.ts";
import { blobUrl, deleteBlob, pushBlob, type Place } from "./steps.ts";
import type { Push } from "./uploads.ts";

/** The `Range` of a request and the bytes it selects of a 2048-byte blob; none: not satisfiable. */
const RANGES: readonly (readonly [string, readonly [from: number, to: number] | undefined])[] = [
  ["500-1499", [500, 1499]],
  ["500-", [500, 2047]],
  ["-500", [1548, 2047]],
  ["2000-5000", [2000, 2047]],
  ["500-0", undefined],
  ["5000-10000", undefined],
];

/** Range requests on a blob (RFC 9110 §14). The whole blob as an answer counts as declined. */
export async function rangeChecks(report: Report, place: Place, push: Push): Promise<void> {
  if (!(await pushBlob(report, push))) {
    report.skip("ranges", "there is no blob to ask for");
    return;
  }
  for (const [range, selected] of RANGES) {
    await report.check(`range ${range}`, async () => {
      const reply = await place.client.send({
        method: "GET",
        url: blobUrl(place, push.digest),
        headers: [["Range", `bytes=${range}`]],
      });
      if (reply.status === 200) {
        expectHeader(reply, "Content-Length", `${push.bytes.length}`);
        expectBody(reply, push.bytes);
        throw new Declined(`${reply.request}: the whole blob for Range ${range}`);
      }
      if (selected === undefined) {
        expectStatus(reply, 416);
        return;
      }
      const [from, to] = selected;
      const span = `bytes ${from}-${to}`;
      expectStatus(reply, 206);
      expectHeader(reply, "Content-Length", `${to - from + 1}`);
      expectHeader(reply, "Content-Range", `${span}/${push.bytes.length}`, `${span}/*`);
      expectBody(reply, push.bytes.subarray(from, to + 1));
    });
  }
  await deleteBlob(report, place, push.digest);
}
