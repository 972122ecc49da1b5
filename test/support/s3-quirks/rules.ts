/** What Storj's S3 gateway refuses or does otherwise than Amazon (docs.storj.io "S3 compatibility", storj/edge), each to be switched. */
import type { S3Request } from "./request.ts";
import { header } from "./wire.ts";

export interface S3Rules {
  /** Listings come in the order of encrypted keys, and are continued in it. */
  shuffledListing: boolean;
  /** 501 for listing by a prefix or delimiter that does not end with `/`. */
  slashPrefixes: boolean;
  /**
   * 501 in ListMultipartUploads for a delimiter other than `/`, and for `upload-id-marker`, which the gateway only
   * passes over (storj/edge#213): whoever leans on it is to be found out.
   */
  plainUploadListing: boolean;
  /** 501 for UploadPartCopy. */
  noPartCopy: boolean;
  /** 501 for CopyObject, which the gateway does have, but which a registry does not need. */
  noCopy: boolean;
  /** 501 for any `If-None-Match` on a write but `*`. */
  ifNoneMatchStar: boolean;
  /** 411 for checksum trailers and for bodies without `Content-Length`. */
  contentLength: boolean;
  /** `If-Match` on a write is passed over in silence. */
  ignoreIfMatch: boolean;
  /** InvalidPart unless Complete lists exactly the parts that there are. */
  exactParts: boolean;
  /** EntityTooSmall at Complete for a part below 5 MiB that is not the last. */
  partSize: boolean;
  /** 501 for subresources that the gateway has not: ACLs, policies, lifecycle, GetObject by `partNumber`, … */
  fewSubresources: boolean;
  /** 429 for a second write to one name within so many milliseconds; 0: any number. */
  writeInterval: number;
  /** 429 beyond so many requests a second; 0: any number. */
  requestsPerSecond: number;
}

export const NO_RULES: S3Rules = {
  shuffledListing: false,
  slashPrefixes: false,
  plainUploadListing: false,
  noPartCopy: false,
  noCopy: false,
  ifNoneMatchStar: false,
  contentLength: false,
  ignoreIfMatch: false,
  exactParts: false,
  partSize: false,
  fewSubresources: false,
  writeInterval: 0,
  requestsPerSecond: 0,
};

/** Everything on, save the rate of the whole project, which is a test's own to set. */
export const STORJ_RULES: S3Rules = {
  shuffledListing: true,
  slashPrefixes: true,
  plainUploadListing: true,
  noPartCopy: true,
  noCopy: true,
  ifNoneMatchStar: true,
  contentLength: true,
  ignoreIfMatch: true,
  exactParts: true,
  partSize: true,
  fewSubresources: true,
  writeInterval: 1000,
  requestsPerSecond: 0,
};

export interface Refusal {
  readonly rule: string;
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const SUBRESOURCES =
  /^(?:acl|policy|policyStatus|cors|lifecycle|website|replication|encryption|inventory|select|torrent|logging|requestPayment|accelerate|metrics|analytics|intelligent-tiering|ownershipControls|publicAccessBlock)$/;

/** What needs no more than the head to be refused. */
export function refusedByHead(rules: S3Rules, request: S3Request): Refusal | undefined {
  const { operation, query, head, method } = request;
  const lists = operation.startsWith("List") && operation !== "ListParts";
  const notImplemented = (rule: keyof S3Rules, message: string): Refusal => ({
    rule,
    status: 501,
    code: "NotImplemented",
    message,
  });
  if (rules.slashPrefixes && lists) {
    for (const name of ["prefix", "delimiter"]) {
      const value = query.get(name) ?? "";
      if (value !== "" && !value.endsWith("/"))
        return notImplemented("slashPrefixes", `${name} "${value}" does not end with a slash`);
    }
  }
  if (rules.plainUploadListing && operation === "ListMultipartUploads") {
    if (query.has("upload-id-marker"))
      return notImplemented("plainUploadListing", "upload-id-marker");
    if ((query.get("delimiter") ?? "/") !== "/")
      return notImplemented("plainUploadListing", "a delimiter other than /");
  }
  if (rules.noPartCopy && operation === "UploadPartCopy")
    return notImplemented("noPartCopy", operation);
  if (rules.noCopy && operation === "CopyObject") return notImplemented("noCopy", operation);
  if (rules.fewSubresources) {
    const names = [...query.keys()].filter((name) => SUBRESOURCES.test(name));
    if (operation === "GetObject" && query.has("partNumber")) names.push("partNumber");
    if (names.length > 0) return notImplemented("fewSubresources", names.join(", "));
  }
  const writes = method === "PUT" || method === "POST" || method === "DELETE";
  const noneMatch = header(head, "if-none-match");
  if (rules.ifNoneMatchStar && writes && noneMatch !== undefined && noneMatch !== "*")
    return notImplemented("ifNoneMatchStar", `If-None-Match: ${noneMatch}`);
  if (rules.contentLength && (method === "PUT" || method === "POST")) {
    const trailer = header(head, "x-amz-content-sha256")?.endsWith("-TRAILER") === true;
    if (trailer || request.framing === "chunked" || header(head, "content-length") === undefined) {
      return {
        rule: "contentLength",
        status: 411,
        code: "MissingContentLength",
        message: "You must provide the Content-Length HTTP header.",
      };
    }
  }
  return undefined;
}

/** The limits over time: of one name, and of all requests. */
export class Limits {
  readonly #writes = new Map<string, number>();
  #second = 0;
  #requests = 0;

  refuse(rules: S3Rules, { operation, bucket, key }: S3Request): Refusal | undefined {
    const now = performance.now();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) this.#requests = 0;
    this.#second = second;
    if (rules.requestsPerSecond > 0 && ++this.#requests > rules.requestsPerSecond)
      return slowDown("requestsPerSecond");
    if (rules.writeInterval === 0 || !/^(?:Put|Copy)Object$|^CreateMultipart/.test(operation))
      return undefined;
    const name = `${bucket}/${key}`;
    const last = this.#writes.get(name);
    if (last !== undefined && now - last < rules.writeInterval) return slowDown("writeInterval");
    this.#writes.set(name, now);
    return undefined;
  }
}

export function slowDown(rule: string): Refusal {
  return {
    rule,
    status: 429,
    code: "SlowDown",
    message: "Please reduce your request rate.",
    headers: { "Retry-After": "1" },
  };
}
