import type { Wire } from "./wire.ts";

/** A request as the suite states it; framing headers are derived, never given. */
export interface Request {
  readonly method: "GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE";
  readonly url: URL;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly body?: Uint8Array;
  /** Send the body with `Transfer-Encoding: chunked` and no `Content-Length`. */
  readonly chunked?: boolean;
}

/** A response with its header lines kept apart, in the order they came. */
export interface Reply {
  /** `METHOD path`, for messages; a long query is cut. */
  readonly request: string;
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
}

/** Every line of one header. */
export function headerLines(reply: Pick<Reply, "headers">, name: string): string[] {
  const wanted = name.toLowerCase();
  return reply.headers.filter(([key]) => key.toLowerCase() === wanted).map(([, value]) => value);
}

/** The members of a header that is a comma list, repeatable or not. */
export function headerList(reply: Pick<Reply, "headers">, name: string): string[] {
  return headerLines(reply, name).flatMap((line) => line.split(",").map((each) => each.trim()));
}

/**
 * The request's bytes, framed as the official suite's Go client frames them: a body goes with its length
 * unless it is chunked or empty (an empty body goes as a lone last chunk), and a POST, PATCH or PUT
 * without one says `Content-Length: 0`.
 */
export function encodeRequest(request: Request): Uint8Array {
  const { method, url, body } = request;
  const lines = [`${method} ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`];
  const headers = request.headers ?? [];
  lines.push("User-Agent: holdfast-conformance");
  if (method !== "HEAD" && !headers.some(([name]) => name === "Range")) {
    lines.push("Accept-Encoding: gzip");
  }
  lines.push(...headers.map(([name, value]) => `${name}: ${value}`));
  let framed: Uint8Array[] = [];
  if (body !== undefined && (request.chunked === true || body.length === 0)) {
    lines.push("Transfer-Encoding: chunked");
    const chunk = [Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n")];
    framed = [...(body.length > 0 ? chunk : []), Buffer.from("0\r\n\r\n")];
  } else if (body !== undefined) {
    lines.push(`Content-Length: ${body.length}`);
    framed = [body];
  } else if (method === "POST" || method === "PATCH" || method === "PUT") {
    lines.push("Content-Length: 0");
  }
  return Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), ...framed]);
}

/** Reads one response; `reusable` tells whether the connection can carry another request. */
export async function readReply(
  wire: Wire,
  request: Request,
): Promise<{ reply: Reply; reusable: boolean }> {
  let status: number;
  let headers: [string, string][];
  do {
    const statusLine = await wire.line();
    const matched = /^HTTP\/1\.1 (\d{3})(?: |$)/.exec(statusLine);
    if (matched === null) {
      throw new Error(`not an HTTP/1.1 status line: ${JSON.stringify(statusLine)}`);
    }
    status = Number(matched[1]);
    headers = await readHeaders(wire);
  } while (status < 200);
  const one = (name: string): string | undefined => headerLines({ headers }, name)[0];
  const length = one("Content-Length");
  const close = one("Connection")?.toLowerCase() === "close";
  let body: Uint8Array = new Uint8Array();
  let reusable = !close;
  if (request.method !== "HEAD" && status !== 204 && status !== 304) {
    if (one("Transfer-Encoding")?.toLowerCase() === "chunked") {
      body = await readChunks(wire);
    } else if (length === undefined) {
      body = await wire.rest();
      reusable = false;
    } else {
      body = await wire.bytes(Number(length));
    }
  }
  const { pathname, search } = request.url;
  const query = search.length > 60 ? `${search.slice(0, 60)}…` : search;
  const reply = { request: `${request.method} ${pathname}${query}`, status, headers, body };
  return { reply, reusable };
}

async function readHeaders(wire: Wire): Promise<[string, string][]> {
  const headers: [string, string][] = [];
  for (let line = await wire.line(); line !== ""; line = await wire.line()) {
    const colon = line.indexOf(":");
    if (colon <= 0) {
      throw new Error(`not a header line: ${JSON.stringify(line)}`);
    }
    headers.push([line.slice(0, colon), line.slice(colon + 1).trim()]);
  }
  return headers;
}

async function readChunks(wire: Wire): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const size = Number.parseInt(await wire.line(), 16);
    if (!Number.isSafeInteger(size)) {
      throw new TypeError("not a chunk size");
    }
    if (size === 0) {
      await readHeaders(wire);
      return Buffer.concat(parts);
    }
    parts.push(await wire.bytes(size));
    await wire.line();
  }
}
