/**
 * Storj's auth service as far as a registry sees it (storj/edge `pkg/auth/httpauth`): a new key pair for every
 * registration, the service's own refusals, and whatever else a test has put in line before them.
 */
import { randomHex } from "../../src/base/clock.ts";
import { StorjError } from "../../src/blobs/s3/storj/error.ts";
import { parseGrant } from "../../src/blobs/s3/storj/grant.ts";

export interface StorjAuthOptions {
  /** The S3 gateway that replies name. */
  readonly endpoint: string;
  /** Answers this pair instead of a new one, for a gateway that knows no other. */
  readonly pair?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Port on 127.0.0.1; 0 takes a free one. */
  readonly port?: number;
}

/** `hang`: no answer at all. */
export type Scripted = Response | "hang";

const BODY_MAX = 4096;

export class StorjAuth implements AsyncDisposable {
  /** Grants registered, in order. */
  readonly registered: string[] = [];
  /** Requests that came, answered or not. */
  requests = 0;
  /** Taken from the front, one a request, before the service itself answers. */
  readonly script: Scripted[] = [];
  /** Satellites served; a grant of another one is refused. `undefined`: all. */
  satellites: readonly string[] | undefined;
  readonly url: string;
  readonly #server: Bun.Server<undefined>;
  readonly #options: StorjAuthOptions;

  constructor(options: StorjAuthOptions) {
    this.#options = options;
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: options.port ?? 0,
      idleTimeout: 0,
      fetch: (request) => this.#answer(request),
    });
    this.url = `http://127.0.0.1:${this.#server.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }

  #answer(request: Request): Promise<Response> | Response {
    this.requests++;
    const next = this.script.shift();
    if (next === "hang") return new Promise(() => {});
    if (next !== undefined) return next;
    const { pathname } = new URL(request.url);
    if (pathname !== "/v1/access") return new Response("404 page not found", { status: 404 });
    if (request.method !== "POST") return new Response("", { status: 405 });
    return this.#register(request);
  }

  async #register(request: Request): Promise<Response> {
    const text = await request.text();
    if (text.length > BODY_MAX) return new Response("request body too large", { status: 413 });
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch (error) {
      return new Response(String(error), { status: 422 });
    }
    const { access_grant: grant, public: isPublic } = body as Record<string, unknown>;
    if (typeof grant !== "string" || typeof isPublic !== "boolean")
      return new Response("cannot unmarshal", { status: 422 });
    try {
      const { satellite } = parseGrant(grant);
      if (this.satellites?.includes(satellite) === false)
        return new Response(`access grant contains disallowed satellite "${satellite}"`, {
          status: 400,
        });
    } catch (error) {
      if (!(error instanceof StorjError)) throw error;
      return new Response("invalid access grant format", { status: 400 });
    }
    this.registered.push(grant);
    const pair = this.#options.pair ?? {
      accessKeyId: `jw${randomHex(13)}`,
      secretAccessKey: `j${randomHex(26)}`,
    };
    return Response.json({
      access_key_id: pair.accessKeyId,
      secret_key: pair.secretAccessKey,
      endpoint: this.#options.endpoint,
    });
  }
}
