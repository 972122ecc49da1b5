import { headerLines, type Reply } from "./message.ts";

/** Throws unless the status is one of `statuses`. */
export function expectStatus(reply: Reply, ...statuses: number[]): void {
  if (!statuses.includes(reply.status)) {
    const text = Buffer.from(reply.body).toString("utf8", 0, 300).trim();
    throw new Error(`${reply.request}: status ${reply.status}, not ${statuses.join("|")} ${text}`);
  }
}

/** Throws unless one line of the header is exactly one of `values`. */
export function expectHeader(reply: Reply, name: string, ...values: string[]): void {
  const lines = headerLines(reply, name);
  if (!lines.some((line) => values.includes(line))) {
    const seen = lines.length === 0 ? "absent" : JSON.stringify(lines);
    throw new Error(`${reply.request}: ${name} is ${seen}, not ${values.join("|")}`);
  }
}

/** Throws unless the body is these bytes. */
export function expectBody(reply: Reply, bytes: Uint8Array): void {
  if (!Buffer.from(bytes).equals(reply.body)) {
    throw new Error(
      `${reply.request}: a body of ${reply.body.length} bytes differs from the ${bytes.length} expected`,
    );
  }
}

/** Throws unless `Docker-Content-Digest` names `digest`; an absent header passes when it is optional. */
export function expectDigest(reply: Reply, digest: string, need: "required" | "optional"): void {
  if (need === "required" || headerLines(reply, "Docker-Content-Digest").length > 0) {
    expectHeader(reply, "Docker-Content-Digest", digest);
  }
}

/** The response's `Location`, resolved against the request's URL; throws when it is missing. */
export function location(reply: Reply, base: URL): URL {
  const [line] = headerLines(reply, "Location");
  if (line === undefined || line === "") {
    throw new Error(`${reply.request}: status ${reply.status} without a Location`);
  }
  return new URL(line, base);
}

/** The URL with `digest=` set and its query sorted and re-encoded, as Go clients send it. */
export function withDigest(url: URL, digest: string): URL {
  const closed = new URL(url);
  closed.searchParams.set("digest", digest);
  closed.searchParams.sort();
  return closed;
}
