/** Clients that push and pull without pause, and know afterwards what was acknowledged and what went wrong. */
import { bytesOf, MANIFEST_TYPE, sha256 } from "../../support/push.ts";
import type { Random } from "../../support/random.ts";
import { type Init, locationOf, manifestOf, withDigest } from "./api.ts";

const CONFIG = new TextEncoder().encode("{}");
/** The last of them go by multipart. */
const SIZES = [300, 300, 5000, 5000, 40_000, 40_000, 120_000, 700_000, 7_000_000];
const REPOSITORIES = 4;
const TAGS = 5;
const PATIENCE_MS = 30_000;
/** A push that is told to come back does so for so long. */
const PUSH_MS = 30_000;
/** Times that one kill may cut a pull: the processes of a node end one after the other. */
const CUTS_MAX = 3;

export interface Image {
  readonly repository: string;
  readonly digest: string;
  readonly text: string;
  readonly layer: string;
}

export interface LoadOptions {
  readonly url: string;
  readonly random: Random;
  readonly pushers: number;
  readonly pullers: number;
  /** Whether a node was killed at or after a moment of `performance.now()`: then connections may have been cut. */
  readonly wasKilledSince: (moment: number) => boolean;
}

export interface Load {
  readonly images: readonly Image[];
  readonly pulls: number;
  /** Pulls that were repeated because their connection was cut. */
  readonly repeated: number;
  /** Answers 503 with Retry-After that pushes got, and pushes begun anew because their connection was cut. */
  readonly putOff: number;
  readonly cut: number;
  /** What must not happen. */
  readonly failures: readonly string[];
  stop(): Promise<void>;
}

/** The server, or what is between, ended the connection. */
class Cut extends Error {
  override readonly name = "Cut";
}
/** 503 with Retry-After. */
class PutOff extends Error {
  override readonly name = "PutOff";
}
class Wrong extends Error {
  override readonly name = "Wrong";
}

export function startLoad(options: LoadOptions): Load {
  const images: Image[] = [];
  const failures: string[] = [];
  const counts = { pulls: 0, repeated: 0, putOff: 0, cut: 0 };
  let running = true;
  let seed = options.random.int(1_000_000);

  const pusher = async (): Promise<void> => {
    while (running) {
      const bytes = bytesOf(++seed, options.random.pick(SIZES));
      const repository = `load/r${options.random.int(REPOSITORIES)}`;
      const tag = `t${options.random.int(TAGS)}`;
      const isChunked = options.random.chance(0.4);
      const deadline = performance.now() + PUSH_MS;
      for (;;) {
        const began = performance.now();
        try {
          images.push(await push(options.url, repository, tag, bytes, isChunked));
          break;
        } catch (error) {
          const allowed =
            error instanceof PutOff || (error instanceof Cut && options.wasKilledSince(began));
          if (!allowed || began > deadline) {
            failures.push(`${span(began)} push to ${repository}: ${String(error)}`);
            break;
          }
          if (error instanceof PutOff) counts.putOff++;
          else counts.cut++;
          await Bun.sleep(200);
        }
      }
    }
  };

  const puller = async (): Promise<void> => {
    while (running) {
      if (images.length === 0) {
        await Bun.sleep(20);
        continue;
      }
      const { repository, digest, layer } = options.random.pick(images);
      const [path, expected] = options.random.pick([
        [`manifests/${digest}`, digest],
        [`manifests/t${options.random.int(TAGS)}`, undefined],
        [`blobs/${layer}`, layer],
        ["tags/list", undefined],
      ] as const);
      for (let attempt = 1; ; attempt++) {
        const began = performance.now();
        try {
          await pull(`${options.url}/v2/${repository}/${path}`, expected);
          counts.pulls++;
          break;
        } catch (error) {
          if (attempt <= CUTS_MAX && error instanceof Cut && options.wasKilledSince(began)) {
            counts.repeated++;
            continue;
          }
          failures.push(`${span(began)} pull ${attempt} of ${path}: ${String(error)}`);
          break;
        }
      }
    }
  };

  const all = [
    ...Array.from({ length: options.pushers }, pusher),
    ...Array.from({ length: options.pullers }, puller),
  ];
  return {
    images,
    failures,
    get pulls() {
      return counts.pulls;
    },
    get repeated() {
      return counts.repeated;
    },
    get putOff() {
      return counts.putOff;
    },
    get cut() {
      return counts.cut;
    },
    async stop() {
      running = false;
      await Promise.all(all);
    },
  };
}

async function push(
  url: string,
  repository: string,
  tag: string,
  bytes: Uint8Array<ArrayBuffer>,
  isChunked: boolean,
): Promise<Image> {
  const base = `${url}/v2/${repository}`;
  const layer = sha256(bytes);
  await send(`${base}/blobs/uploads/?digest=${sha256(CONFIG)}`, "POST", 201, CONFIG);
  const opened = await send(`${base}/blobs/uploads/`, "POST", 202);
  let path = locationOf(opened);
  if (isChunked) {
    path = locationOf(await send(url + path, "PATCH", 202, bytes));
    await send(url + withDigest(path, layer), "PUT", 201);
  } else await send(url + withDigest(path, layer), "PUT", 201, bytes);
  const text = manifestOf(
    { digest: sha256(CONFIG), size: CONFIG.length },
    { digest: layer, size: bytes.length },
  );
  await send(`${base}/manifests/${tag}`, "PUT", 201, text, { "Content-Type": MANIFEST_TYPE });
  return { repository, digest: sha256(text), text, layer };
}

async function send(
  url: string,
  method: string,
  status: number,
  body?: Uint8Array<ArrayBuffer> | string,
  headers: Record<string, string> = {},
): Promise<Response> {
  const answer = await attempt(url, { method, headers, ...(body === undefined ? {} : { body }) });
  const text = await read(answer);
  if (answer.status === status) return answer;
  if (answer.status === 503 && answer.headers.has("Retry-After")) throw new PutOff(decode(text));
  throw new Wrong(`${method} ${url} answered ${answer.status}: ${decode(text)}`);
}

async function pull(url: string, digest: string | undefined): Promise<void> {
  const answer = await attempt(url);
  const bytes = await read(answer);
  // A tag that nobody has pushed yet.
  if (answer.status === 404 && /\/manifests\/t\d$/.test(url)) return;
  if (answer.status !== 200) throw new Wrong(`${answer.status}: ${decode(bytes)}`);
  const expected = digest ?? answer.headers.get("Docker-Content-Digest");
  if (expected !== null && sha256(bytes) !== expected) throw new Wrong("wrong bytes");
}

async function attempt(url: string, init: Init = {}): Promise<Response> {
  try {
    return await fetch(url, {
      ...init,
      headers: { ...init.headers, connection: "close" },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch (error) {
    throw new Cut(String(error));
  }
}

async function read(answer: Response): Promise<Uint8Array> {
  try {
    return await answer.bytes();
  } catch (error) {
    throw new Cut(String(error));
  }
}

function span(began: number): string {
  return `${Math.round(began)} to ${Math.round(performance.now())} ms:`;
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(0, 300));
}
