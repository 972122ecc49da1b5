/**
 * Requests to etcd's JSON gateway: which member is asked, for how long, and as whom. One call is one attempt;
 * what to do when it gets no answer is the caller's business.
 */
import { RevisionCompacted, StoreUnavailable } from "../port.ts";
import { brokenBy, refusalOf, TokenRefused, Unanswered } from "./failures.ts";

export interface EtcdClientOptions {
  /**
   * Client URLs, `http://host:port` or `https://host:port`, of every member: whether a majority is alive is judged
   * by them.
   */
  readonly endpoints: readonly string[];
  readonly username?: string;
  readonly password?: string;
  /** Asked for each request where it is a function: certificates are renewed. */
  readonly tls?: EtcdTls | (() => EtcdTls);
}

/** PEM texts: whom to trust, and who we are. */
export interface EtcdTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** A response whose body goes on. */
export interface OpenStream {
  readonly endpoint: string;
  readonly body: ReadableStream<Uint8Array>;
}

export interface Silence {
  /** When the first of them began, and when the last one was given up; as of `performance.now()`. */
  readonly since: number;
  readonly at: number;
  readonly last: Unanswered;
}

/** A member that is asked for its release or for a token has this long, milliseconds. */
const ASIDE_MS = 1000;

export class EtcdClient {
  readonly #endpoints: readonly string[];
  readonly #options: EtcdClientOptions;
  #at: number;
  #token: Promise<string> | undefined;
  #majority: Promise<boolean> | undefined;
  #silence: Silence | undefined;

  constructor(options: EtcdClientOptions) {
    if (options.endpoints.length === 0) throw new RangeError("metadata.etcd.endpoints is empty");
    this.#endpoints = options.endpoints.map((url) => url.replace(/\/+$/, ""));
    this.#options = options;
    // So that the processes of an installation spread over the members.
    this.#at = Math.floor(Math.random() * this.#endpoints.length);
  }

  /**
   * Asks one member, within `ms`. Throws `Unanswered` when it gave no answer (the next call asks the next member),
   * else what the port has for its refusal.
   */
  async call<T>(path: string, body: object, ms: number): Promise<T> {
    const endpoint = this.#endpoint();
    const since = performance.now();
    try {
      const answer = await this.#ask<T>(endpoint, path, JSON.stringify(body), ms);
      this.#silence = undefined;
      return answer;
    } catch (error) {
      if (error instanceof Unanswered) {
        this.leave(endpoint);
        this.#silence = {
          since: this.#silence?.since ?? since,
          at: performance.now(),
          last: error,
        };
      }
      throw error;
    }
  }

  /** There where no call has been answered since the first of those that were not. */
  get silence(): Silence | undefined {
    return this.#silence;
  }

  /** Asks all members at once and takes the first answer. */
  async callAny<T>(path: string, body: object, ms: number): Promise<T> {
    const text = JSON.stringify(body);
    try {
      return await Promise.any(
        this.#endpoints.map((endpoint) => this.#ask<T>(endpoint, path, text, ms)),
      );
    } catch (error) {
      throw (error as AggregateError).errors[0];
    }
  }

  /** Begins an answer that never ends by itself, until `stop` aborts; its first line must come within `ms`. */
  async open(path: string, body: object, stop: AbortController, ms: number): Promise<OpenStream> {
    const endpoint = this.#endpoint();
    const timer = setTimeout(() => stop.abort(), ms);
    try {
      const response = await this.#send(endpoint, path, JSON.stringify(body), stop.signal, {
        ...(await this.#identity(endpoint)),
        // A member that has lost the others would wait with us for ever; this makes it end the stream.
        "Grpc-Metadata-hasleader": "true",
      });
      if (!response.ok || response.body === null)
        throw refusalOf(endpoint, response.status, await response.text());
      return { endpoint, body: response.body };
    } catch (error) {
      this.leave(endpoint);
      throw isOurs(error) ? error : brokenBy(error, endpoint, ms);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The next call asks another member than this one. */
  leave(endpoint: string): void {
    // Many calls fail together: only the first moves on.
    if (endpoint === this.#endpoint()) this.#at = (this.#at + 1) % this.#endpoints.length;
  }

  /** The next call shows a new token. */
  forgetToken(): void {
    this.#token = undefined;
  }

  /** True when most of the members are alive, whether or not they have a leader. */
  majorityAnswers(ms: number): Promise<boolean> {
    this.#majority ??= this.releases(ms)
      .then((found) => found.length > this.#endpoints.length / 2)
      .finally(() => (this.#majority = undefined));
    return this.#majority;
  }

  /** The releases of the members that answer; throws nothing. */
  async releases(
    ms = ASIDE_MS,
  ): Promise<{ readonly endpoint: string; readonly release: string }[]> {
    const asked = this.#endpoints.map(async (endpoint) => {
      const answer = await this.#exchange(endpoint, "/version", undefined, ms, {});
      return { endpoint, release: String((answer as { etcdserver?: unknown }).etcdserver) };
    });
    const settled = await Promise.allSettled(asked);
    return settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  }

  #endpoint(): string {
    return this.#endpoints[this.#at] ?? "";
  }

  async #ask<T>(endpoint: string, path: string, body: string, ms: number): Promise<T> {
    const ask = async () =>
      (await this.#exchange(endpoint, path, body, ms, await this.#identity(endpoint))) as T;
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof TokenRefused) || this.#options.username === undefined) throw error;
      // It was refused before anything was done.
      this.forgetToken();
      return await ask();
    }
  }

  async #identity(endpoint: string): Promise<Record<string, string>> {
    const { username, password = "" } = this.#options;
    if (username === undefined) return {};
    this.#token ??= this.#authenticate(endpoint, username, password);
    return { Authorization: await this.#token };
  }

  async #authenticate(endpoint: string, name: string, password: string): Promise<string> {
    try {
      const body = JSON.stringify({ name, password });
      const answer = await this.#exchange(endpoint, "/v3/auth/authenticate", body, ASIDE_MS, {});
      return String((answer as { token?: unknown }).token);
    } catch (error) {
      this.forgetToken();
      throw error;
    }
  }

  async #exchange(
    endpoint: string,
    path: string,
    body: string | undefined,
    ms: number,
    headers: Record<string, string>,
  ): Promise<unknown> {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), ms);
    try {
      const response = await this.#send(endpoint, path, body, stop.signal, headers);
      const text = await response.text();
      if (!response.ok) throw refusalOf(endpoint, response.status, text);
      return JSON.parse(text) as unknown;
    } catch (error) {
      throw isOurs(error) ? error : brokenBy(error, endpoint, ms);
    } finally {
      clearTimeout(timer);
    }
  }

  #send(
    endpoint: string,
    path: string,
    body: string | undefined,
    signal: AbortSignal,
    headers: Record<string, string>,
  ): Promise<Response> {
    const tls = typeof this.#options.tls === "function" ? this.#options.tls() : this.#options.tls;
    return fetch(endpoint + path, {
      method: body === undefined ? "GET" : "POST",
      headers,
      signal,
      ...(body === undefined ? {} : { body }),
      ...(tls === undefined ? {} : { tls }),
    });
  }
}

/** Whether `refusalOf` has said what it means. */
function isOurs(error: unknown): boolean {
  return (
    error instanceof StoreUnavailable ||
    error instanceof RevisionCompacted ||
    error instanceof RangeError
  );
}
