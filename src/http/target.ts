/** The target of a request: path and query, as raw as they came. */
import { OciError } from "../oci/errors.ts";

export interface Target {
  /** Still percent-encoded, without the query. */
  readonly path: string;
  /** Without `?`. */
  readonly search: string;
}

/** `url` is as the server hands it out: absolute, or a path alone where the client sent no usable `Host`. */
export function parseTarget(url: string): Target {
  const start = url.startsWith("/") ? 0 : url.indexOf("/", url.indexOf("://") + 3);
  if (start < 0) return { path: "/", search: "" };
  const query = url.indexOf("?", start);
  return query < 0
    ? { path: url.slice(start), search: "" }
    : { path: url.slice(start, query), search: url.slice(query + 1) };
}

/** Query parameters; one that may occur once is refused when it occurs twice, since two readers could differ on it. */
export class Query {
  readonly #params: URLSearchParams | undefined;

  constructor(search: string) {
    this.#params = search === "" ? undefined : new URLSearchParams(search);
  }

  one(name: string): string | undefined {
    const values = this.#params?.getAll(name) ?? [];
    if (values.length > 1) {
      const code = name === "digest" ? "DIGEST_INVALID" : "UNSUPPORTED";
      throw new OciError(code, `the parameter ${name} is given ${values.length} times`, {
        status: 400,
        detail: { parameter: name },
      });
    }
    return values[0];
  }

  all(name: string): readonly string[] {
    return this.#params?.getAll(name) ?? [];
  }

  /** A count of entries; `undefined` when not given. */
  count(name: string): number | undefined {
    const text = this.one(name);
    if (text === undefined) return undefined;
    if (!/^\d+$/.test(text)) {
      throw new OciError("UNSUPPORTED", `the parameter ${name} must be a number, 0 or more`, {
        status: 400,
        detail: { parameter: name, value: text.slice(0, 64) },
      });
    }
    return Math.min(Number(text), Number.MAX_SAFE_INTEGER);
  }
}
