/** The ports of bytes on Ceph. */
import { CEPH } from "../support/s3-kinds.ts";
import { s3ConformanceSuite } from "../support/s3-suites/conformance.ts";

s3ConformanceSuite(CEPH, ["a/b-c/"]);
