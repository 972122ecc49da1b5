/** What the log is given. */

export const levels = ["debug", "info", "warn", "error"] as const;
export type Level = (typeof levels)[number];
export type Fields = Readonly<Record<string, unknown>>;

/** What one answered request leaves behind. */
export interface RequestFields {
  readonly id: string;
  readonly method: string;
  /** Path and query as received; cut when it is long. */
  readonly path: string;
  /** Route template. */
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
  /** Bytes of the request's and of the response's body. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly client?: string | undefined;
  readonly agent?: string | undefined;
  /** Why the request was refused or failed. */
  readonly error?: string | undefined;
}
