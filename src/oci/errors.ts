/**
 * The closed table of answers that are not success: code → status and default message
 * (distribution-spec §Error codes). Codes on the wire are the specification's own; where it has none for
 * a situation, the nearest one is sent with the status that tells the truth.
 */

const TABLE = {
  BLOB_UNKNOWN: { status: 404, message: "blob unknown to the repository" },
  BLOB_UPLOAD_INVALID: { status: 416, message: "blob upload invalid" },
  BLOB_UPLOAD_UNKNOWN: { status: 404, message: "blob upload unknown to the repository" },
  DIGEST_INVALID: { status: 400, message: "digest invalid or not that of the content" },
  MANIFEST_BLOB_UNKNOWN: {
    status: 404,
    message: "manifest refers to content the repository lacks",
  },
  MANIFEST_INVALID: { status: 400, message: "manifest invalid" },
  MANIFEST_UNKNOWN: { status: 404, message: "manifest unknown to the repository" },
  NAME_INVALID: { status: 400, message: "repository name invalid" },
  NAME_UNKNOWN: { status: 404, message: "repository unknown to the registry" },
  SIZE_INVALID: { status: 400, message: "length given and length received differ" },
  UNAUTHORIZED: { status: 401, message: "authentication required" },
  DENIED: { status: 403, message: "access to the resource denied" },
  UNSUPPORTED: { status: 405, message: "operation unsupported" },
  TOOMANYREQUESTS: { status: 429, message: "too many requests" },
  // The specification leaves the codes of 5xx answers open.
  UNKNOWN: { status: 500, message: "internal error" },
  UNAVAILABLE: { status: 503, message: "temporarily unavailable, try again" },
  INSUFFICIENT_STORAGE: { status: 507, message: "no room left to store this" },
} as const;

export type ErrorCode = keyof typeof TABLE;

export interface OciErrorOptions {
  /** HTTP status where it is not the code's usual one (413, 412, 503, 507 …). */
  readonly status?: number;
  /** Machine-readable particulars, shown to the client as `detail`. */
  readonly detail?: unknown;
  /** Response headers that belong to this answer, such as `Retry-After` or `Allow`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** More errors of the same answer, one a missing blob for example. */
  readonly more?: readonly { readonly message: string; readonly detail?: unknown }[];
}

/** A request that is refused: thrown by parsers and use cases, rendered in one place at the edge. */
export class OciError extends Error {
  override readonly name = "OciError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly detail: unknown;
  readonly headers: Readonly<Record<string, string>>;
  readonly more: readonly { readonly message: string; readonly detail?: unknown }[];

  constructor(code: ErrorCode, message?: string, options: OciErrorOptions = {}) {
    super(message ?? TABLE[code].message);
    this.code = code;
    this.status = options.status ?? TABLE[code].status;
    this.detail = options.detail;
    this.headers = options.headers ?? {};
    this.more = options.more ?? [];
  }

  /** The body of the answer, `{"errors":[…]}`. */
  toJSON(): { errors: { code: ErrorCode; message: string; detail?: unknown }[] } {
    const one = (
      message: string,
      detail: unknown,
    ): { code: ErrorCode; message: string; detail?: unknown } =>
      detail === undefined ? { code: this.code, message } : { code: this.code, message, detail };
    return {
      errors: [one(this.message, this.detail), ...this.more.map((m) => one(m.message, m.detail))],
    };
  }
}
