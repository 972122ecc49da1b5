/** What a network, a gateway or a bad day does to single requests. */
import type { S3Request } from "./request.ts";

export type FaultAction =
  /** Answered at once; the server never hears of it. */
  | {
      readonly answer: number;
      readonly code: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The server does it, and the connection is reset before a byte of the answer. */
  | { readonly lose: true }
  /** Reset after so many bytes of the request's body; the server gets no more than these. */
  | { readonly cutRequest: number }
  /** Ended after so many bytes of the answer's body: by a reset, or `gently`. */
  | { readonly cutAnswer: number; readonly gently?: boolean }
  /** The answer, which must be one in XML, without these elements. */
  | { readonly leaveOut: readonly string[] }
  /** Nothing comes back, ever: the request is not read, or it is done and only the answer stays away. */
  | { readonly hang: "request" | "answer" }
  /** Passed on after so many milliseconds. */
  | { readonly delay: number };

export interface FaultOptions {
  /** Which requests; all of them where it is not given. */
  readonly when?: (request: S3Request) => boolean;
  /** How many of them; no end where it is not given. */
  readonly times?: number;
}

/** One fault in force until it is disposed of. */
export class Fault implements Disposable {
  readonly action: FaultAction;
  /** Requests that met it. */
  hits = 0;
  readonly #options: FaultOptions;
  readonly #remove: (fault: Fault) => void;

  constructor(action: FaultAction, options: FaultOptions, remove: (fault: Fault) => void) {
    this.action = action;
    this.#options = options;
    this.#remove = remove;
  }

  /** Whether it befalls this request, which then counts. */
  befalls(request: S3Request): boolean {
    const { when, times = Infinity } = this.#options;
    if (this.hits >= times || when?.(request) === false) return false;
    this.hits++;
    return true;
  }

  [Symbol.dispose](): void {
    this.#remove(this);
  }
}
