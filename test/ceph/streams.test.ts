/** Bodies from and to a bucket: flat memory, resumed where they break, never cut short in silence. */
import { CEPH } from "../support/s3-kinds.ts";
import { s3StreamsSuite } from "../support/s3-suites/streams.ts";

s3StreamsSuite(CEPH);
