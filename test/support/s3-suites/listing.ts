/** Listings of a bucket that do not fit into a page of a thousand names. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { collected, digestOf, randomBytes } from "../../../src/blobs/conformance-tools.ts";
import { S3Client } from "../../../src/blobs/s3/client.ts";
import { describeWith } from "../../clients/support/tools.ts";
import { optionsOf, type S3Kind, type S3Place } from "../s3-kinds.ts";
import { openNodes } from "../s3-stores.ts";

const MANY = 1030;
/** Requests under way at a time. */
const LANES = 16;

async function many<T>(make: (index: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < MANY) made.push(await make(next++));
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return made;
}

export function s3ListingSuite(kind: S3Kind): void {
  describeWith(kind.programs, `long listings on ${kind.name}`, () => {
    let place: S3Place;
    beforeAll(async () => {
      place = await kind.open();
    });
    afterAll(async () => place[Symbol.asyncDispose]());

    test("blobs: each once, in order, and from any of them on", async () => {
      const nodes = openNodes({ ...optionsOf(place), prefix: "blobs-here/" });
      const store = await nodes.node("a");
      const put = await many((index) => {
        const bytes = randomBytes(16 + (index % 100));
        return store.put(digestOf(bytes), bytes);
      });
      const wanted = put.map(({ locator }) => locator).sort();
      const listed = await collected(store.list());
      expect(listed.map(({ locator }) => locator)).toEqual(wanted);
      const sizes = new Map(put.map(({ locator, size }) => [locator, size]));
      expect(listed.every(({ locator, size }) => sizes.get(locator) === size)).toBe(true);
      const after = wanted[1000];
      const rest = await collected(store.list(after));
      expect(rest.map(({ locator }) => locator)).toEqual(wanted.slice(1001));
      await nodes.close();
    }, 60_000);

    test("multipart uploads that nobody ended: each once", async () => {
      const client = new S3Client({ ...optionsOf(place), prefix: "uploads-here/" });
      await client.createMultipart("elsewhere/x");
      const begun = await many(async (index) => {
        const key = `data/${index % 7}/${index}`;
        return `${key} ${await client.createMultipart(key)}`;
      });
      const found = await collected(client.openMultiparts("data/"));
      const names = found.map(({ key, uploadId }) => `${key} ${uploadId}`);
      expect(names.sort()).toEqual(begun.sort());
      expect(found.every(({ initiated }) => Math.abs(initiated - Date.now()) < 120_000)).toBe(true);
    }, 60_000);
  });
}
