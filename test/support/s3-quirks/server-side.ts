/** Requests of the proxy's own to the real server, where a rule needs to know what there is. */
import { AwsClient, AwsV4Signer } from "aws4fetch";
import type { S3Request } from "./request.ts";
import type { Refusal, S3Rules } from "./rules.ts";
import { without, type Head } from "./wire.ts";

export interface S3Target {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Default `us-east-1`. */
  readonly region?: string;
}

const PART_MIN = 5 << 20;
const PAGE_MAX = 1000;

export class ServerSide {
  readonly #target: S3Target;
  readonly #client: AwsClient;

  constructor(target: S3Target) {
    this.#target = target;
    const region = target.region ?? "us-east-1";
    this.#client = new AwsClient({ ...target, region, service: "s3", retries: 0 });
  }

  /** The request as if it had no such header, signed by the proxy. */
  async resign(request: S3Request, drop: string): Promise<Head> {
    const url = new URL(request.target, this.#target.endpoint);
    const signed = request.head.headers.filter(([name]) => /^x-amz-(?!date)/i.test(name));
    const { headers } = await new AwsV4Signer({
      ...this.#target,
      region: this.#target.region ?? "us-east-1",
      service: "s3",
      method: request.method,
      url: url.href,
      headers: signed.map(([name, value]): [string, string] => [name, value]),
    }).sign();
    const rest = without(request.head, drop, "host", "authorization", "x-amz-date");
    const added = ["authorization", "x-amz-date"].map(
      (name) => [name, headers.get(name) ?? ""] as const,
    );
    return { line: rest.line, headers: [["Host", url.host], ...rest.headers, ...added] };
  }

  /** Why the gateway would not complete the upload with the parts that `body` lists. */
  async refuseComplete(
    rules: S3Rules,
    request: S3Request,
    body: string,
  ): Promise<Refusal | undefined> {
    const parts = await this.#parts(request);
    if (parts === undefined) return undefined;
    const listed = numbers(body, "PartNumber").toSorted((a, b) => a - b);
    const there = [...parts.keys()].toSorted((a, b) => a - b);
    if (rules.exactParts && listed.join() !== there.join()) {
      const message = `listed are parts ${listed.join()}, there are ${there.join()}`;
      return { rule: "exactParts", status: 400, code: "InvalidPart", message };
    }
    const small = there.slice(0, -1).find((number) => (parts.get(number) ?? 0) < PART_MIN);
    if (rules.partSize && small !== undefined) {
      const message = `part ${small} has ${parts.get(small)} bytes`;
      return { rule: "partSize", status: 400, code: "EntityTooSmall", message };
    }
    return undefined;
  }

  /** A page in the order of encrypted keys. */
  async list(request: S3Request): Promise<string> {
    const { bucket, query } = request;
    const prefix = query.get("prefix") ?? "";
    const delimiter = query.get("delimiter") ?? "";
    const most = Math.min(PAGE_MAX, Number(query.get("max-keys") ?? PAGE_MAX));
    const after = query.get("continuation-token") ?? order(query.get("start-after") ?? "");

    const entries = new Map<string, string>();
    for await (const { key, xml } of this.#contents(bucket, prefix)) {
      const end = delimiter === "" ? -1 : key.indexOf(delimiter, escape(prefix).length);
      if (end < 0) entries.set(key, xml);
      else {
        const common = key.slice(0, end + delimiter.length);
        entries.set(common, `<CommonPrefixes><Prefix>${common}</Prefix></CommonPrefixes>`);
      }
    }
    const all = [...entries].map(([key, xml]) => ({ xml, at: order(key) }));
    const left = all.filter(({ at }) => at > after).toSorted((a, b) => (a.at < b.at ? -1 : 1));
    const page = left.slice(0, most);
    const more = left.length > page.length;
    const next = more ? `<NextContinuationToken>${page.at(-1)?.at}</NextContinuationToken>` : "";
    return `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${bucket}</Name><Prefix>${escape(prefix)}</Prefix><KeyCount>${page.length}</KeyCount><MaxKeys>${most}</MaxKeys><IsTruncated>${more}</IsTruncated>${next}${page.map(({ xml }) => xml).join("")}</ListBucketResult>`;
  }

  async delete(request: S3Request): Promise<void> {
    const url = new URL(request.target, this.#target.endpoint);
    await (await this.#client.fetch(url.href, { method: "DELETE" })).arrayBuffer();
  }

  async *#contents(bucket: string, prefix: string): AsyncGenerator<{ key: string; xml: string }> {
    let token: string | undefined;
    do {
      const url = new URL(`/${bucket}`, this.#target.endpoint);
      url.search = new URLSearchParams({
        "list-type": "2",
        prefix,
        ...(token === undefined ? {} : { "continuation-token": token }),
      }).toString();
      const text = await (await this.#client.fetch(url.href)).text();
      for (const [xml] of text.matchAll(/<Contents>.*?<\/Contents>/gs))
        yield { key: tag(xml, "Key") ?? "", xml };
      token = tag(text, "NextContinuationToken");
    } while (token !== undefined && token !== "");
  }

  /** Sizes of the parts by number, or `undefined` where there is no such upload. */
  async #parts({ bucket, key, query }: S3Request): Promise<Map<number, number> | undefined> {
    const parts = new Map<number, number>();
    for (let marker = "0"; ;) {
      const path = `/${bucket}/${key.split("/").map(encodeURIComponent).join("/")}`;
      const url = new URL(path, this.#target.endpoint);
      const uploadId = query.get("uploadId") ?? "";
      url.search = new URLSearchParams({ uploadId, "part-number-marker": marker }).toString();
      const response = await this.#client.fetch(url.href);
      const text = await response.text();
      if (!response.ok) return undefined;
      for (const [xml] of text.matchAll(/<Part>.*?<\/Part>/gs))
        parts.set(Number(tag(xml, "PartNumber")), Number(tag(xml, "Size")));
      const next = tag(text, "NextPartNumberMarker");
      if (tag(text, "IsTruncated") !== "true" || next === undefined) return parts;
      marker = next;
    }
  }
}

/** Where an encrypted key would stand: what shares a path stays together, all else is as good as random. */
function order(key: string): string {
  if (key === "") return "";
  const hash = (part: string): string =>
    new Bun.CryptoHasher("sha256").update(part).digest("hex").slice(0, 12);
  return key.split("/").map(hash).join(".");
}

/** Blocks of a page in another order. */
export function shuffled(xml: string, name: string): string {
  const pattern = new RegExp(`<${name}>.*?</${name}>`, "gs");
  const blocks = [...(xml.match(pattern) ?? [])].toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
  return xml.replace(pattern, () => blocks.shift() ?? "");
}

/** A page without what these elements say. */
export function lacking(xml: string, names: readonly string[]): string {
  return xml.replace(new RegExp(`<(${names.join("|")})>.*?</\\1>`, "gs"), "");
}

function tag(xml: string, name: string): string | undefined {
  return new RegExp(`<${name}>(.*?)</${name}>`, "s").exec(xml)?.[1];
}

function numbers(xml: string, name: string): number[] {
  return [...xml.matchAll(new RegExp(`<${name}>\\s*(\\d+)\\s*</${name}>`, "g"))].map((match) =>
    Number(match[1]),
  );
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
