/** Uploads on a bucket over several nodes: continued anywhere, fenced, found out, with few requests. */
import { VERSITYGW } from "../support/s3-kinds.ts";
import { s3UploadsSuite } from "../support/s3-suites/uploads.ts";

s3UploadsSuite(VERSITYGW);
