/** A bucket that cannot be used says which field is wrong and what to do; one that can, what it can do. */
import { VERSITYGW } from "../support/s3-kinds.ts";
import { s3StartSuite } from "../support/s3-suites/start.ts";

s3StartSuite(VERSITYGW);
