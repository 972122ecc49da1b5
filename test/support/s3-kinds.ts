/** The real S3 servers that suites are run on. */
import { randomHex } from "../../src/base/clock.ts";
import type { S3Options } from "../../src/blobs/s3/index.ts";
import { CEPH_PROGRAMS } from "./ceph.ts";
import type { S3Server } from "./s3-server.ts";
import { sharedCeph } from "./shared-place.ts";
import { startVersitygw } from "./versitygw.ts";

/** A server with an empty bucket. */
export interface S3Place extends S3Server {
  readonly bucket: string;
}

export interface S3Kind {
  readonly name: string;
  /** What it takes to run. */
  readonly programs: readonly string[];
  /** Whether it minds the region that a request was signed for. */
  readonly checksRegion: boolean;
  /** Whether of several writers with `If-None-Match: *` at the same moment one wins. */
  readonly hasOneWinner: boolean;
  open(): Promise<S3Place>;
}

/** Up at once: every suite has one of its own. */
export const VERSITYGW: S3Kind = {
  name: "versitygw",
  programs: ["versitygw"],
  checksRegion: true,
  hasOneWinner: false,
  async open() {
    const server = await startVersitygw();
    await server.createBucket("blobs");
    return { ...server, bucket: "blobs" };
  },
};

/** One for all suites, with a bucket for each. */
export const CEPH: S3Kind = {
  name: "Ceph",
  programs: CEPH_PROGRAMS,
  checksRegion: false,
  hasOneWinner: true,
  async open() {
    const server = await sharedCeph();
    const bucket = `b${randomHex(8)}`;
    await server.createBucket(bucket);
    return { ...server, bucket, [Symbol.asyncDispose]: async () => {} };
  },
};

export function optionsOf(place: S3Place): S3Options & { readonly credentials: S3Place } {
  return { bucket: place.bucket, endpoint: place.endpoint, credentials: place };
}
