/** What a request asks of S3, read from its first line and head. */
import { header, requestFraming, type Framing, type Head } from "./wire.ts";

export interface S3Request {
  /** The name of S3's operation, such as `PutObject`. */
  readonly operation: string;
  readonly method: string;
  readonly bucket: string;
  /** Decoded; empty for the bucket itself. */
  readonly key: string;
  readonly query: URLSearchParams;
  /** Path and query as sent. */
  readonly target: string;
  readonly head: Head;
  readonly framing: Framing;
}

export function readRequest(head: Head): S3Request {
  const [method = "", target = "/"] = head.line.split(" ");
  const { pathname, searchParams } = new URL(target, "http://s3");
  const [, bucket = "", key = ""] = /^\/([^/]*)\/?(.*)$/.exec(decodeURIComponent(pathname)) ?? [];
  const copies = header(head, "x-amz-copy-source") !== undefined;
  return {
    operation:
      key === ""
        ? bucketOperation(method, bucket, searchParams)
        : objectOperation(method, searchParams, copies),
    method,
    bucket,
    key,
    query: searchParams,
    target,
    head,
    framing: requestFraming(head),
  };
}

function bucketOperation(method: string, bucket: string, query: URLSearchParams): string {
  if (bucket === "") return "ListBuckets";
  switch (method) {
    case "PUT":
      return "CreateBucket";
    case "HEAD":
      return "HeadBucket";
    case "DELETE":
      return "DeleteBucket";
    case "POST":
      return "DeleteObjects";
    default:
      if (query.has("location")) return "GetBucketLocation";
      if (query.has("uploads")) return "ListMultipartUploads";
      if (query.has("versions")) return "ListObjectVersions";
      return query.get("list-type") === "2" ? "ListObjectsV2" : "ListObjects";
  }
}

function objectOperation(method: string, query: URLSearchParams, copies: boolean): string {
  const inUpload = query.has("uploadId");
  switch (method) {
    case "GET":
      return inUpload ? "ListParts" : "GetObject";
    case "HEAD":
      return "HeadObject";
    case "POST":
      return inUpload ? "CompleteMultipartUpload" : "CreateMultipartUpload";
    case "DELETE":
      return inUpload ? "AbortMultipartUpload" : "DeleteObject";
    default:
      if (inUpload) return copies ? "UploadPartCopy" : "UploadPart";
      return copies ? "CopyObject" : "PutObject";
  }
}
