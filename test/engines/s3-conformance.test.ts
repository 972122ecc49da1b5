/** The ports of bytes on versitygw. */
import { VERSITYGW } from "../support/s3-kinds.ts";
import { s3ConformanceSuite } from "../support/s3-suites/conformance.ts";

s3ConformanceSuite(VERSITYGW, ["", "a/b-c/"]);
