/** Listings of a bucket that do not fit into a page. */
import { CEPH } from "../support/s3-kinds.ts";
import { s3ListingSuite } from "../support/s3-suites/listing.ts";

s3ListingSuite(CEPH);
