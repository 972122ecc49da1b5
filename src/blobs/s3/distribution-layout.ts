/**
 * What distribution's S3 driver writes, below `docker/registry/v2` of the prefix (its `rootdirectory`):
 *
 *   blobs/<algorithm>/<first two hex>/<hex>/data
 *   repositories/<name>/_layers/<algorithm>/<hex>/link
 *   repositories/<name>/_manifests/revisions/<algorithm>/<hex>/link
 *   repositories/<name>/_manifests/tags/<tag>/current/link
 *
 * A link holds a digest as text. That of a layer or a revision is named by the same digest, so one of the right size is
 * taken at its name: what it names is checked by its bytes anyway, and a request for each would be most of the work.
 */
import { Limiter } from "../../base/limiter.ts";
import { Lru } from "../../base/lru.ts";
import { parseDigest, type Digest } from "../../oci/digest.ts";
import { parseName, parseTag, type RepositoryName } from "../../oci/name.ts";
import { isOfNothing, LINK_BYTES_MAX, locatorOf, notPlain, shown, TOP } from "../distribution.ts";
import type {
  Flaw,
  ForeignBlob,
  ForeignLayout,
  ForeignRevision,
  ForeignTag,
  Note,
} from "../foreign.ts";
import { S3Client, type ListedObject, type Page } from "./client.ts";
import type { S3Options } from "./transport.ts";

const REPOSITORIES = `${TOP}/repositories/`;
/** Requests under way at once. */
const WIDTH = 32;
/** Folders of repositories listed at once; each may hold a page of names. */
const WALK_WIDTH = 8;
/** Blobs remembered to be there. */
const FOUND_MAX = 10_000;
const DIGEST_LINK = /^([^/]+)\/([^/]+)\/link$/;
const TAG_LINK = /^([^/]+)\/current\/link$/;

/** Whether distribution has written below the prefix. */
export async function hasDistributionLayout(options: S3Options): Promise<boolean> {
  return isThere(new S3Client(options), REPOSITORIES);
}

/** Opens the layout; no request is made. */
export function openDistributionLayout(options: S3Options): ForeignLayout {
  return new DistributionLayout(new S3Client(options));
}

/** A folder of repositories, from one of its pages on. */
interface Folder {
  readonly name: string;
  readonly token: string | undefined;
  /** An earlier page has shown that it is a repository itself. */
  readonly isRepository: boolean;
}

class DistributionLayout implements ForeignLayout {
  readonly #client: S3Client;
  readonly #limiter = new Limiter(WIDTH);
  /** Base layers are shown by many repositories. */
  readonly #found = new Lru<ForeignBlob>(FOUND_MAX);

  constructor(client: S3Client) {
    this.#client = client;
  }

  /** Memory: a page of names for each level of the names and each folder listed at once. */
  async *repositories(note: Note): AsyncGenerator<RepositoryName, void, void> {
    const waiting: Folder[] = [{ name: "", token: undefined, isRepository: false }];
    while (waiting.length > 0) {
      const folders = waiting.splice(-WALK_WIDTH);
      const pages = await Promise.all(
        folders.map(({ name, token }) => this.#list(topOf(name), { delimited: true, token })),
      );
      const found: RepositoryName[] = [];
      for (const [i, folder] of folders.entries()) {
        const page = pages[i];
        if (page === undefined) continue;
        const { isRepository, children } = readFolder(folder.name, page, note);
        const name = isRepository && !folder.isRepository ? parseName(folder.name) : undefined;
        if (name !== undefined) found.push(name);
        // The rest of this folder waits below its children, so that what waits does not grow with it.
        if (page.next !== undefined) {
          const seen = folder.isRepository || isRepository;
          waiting.push({ name: folder.name, token: page.next, isRepository: seen });
        }
        waiting.push(...children);
      }
      yield* found;
    }
  }

  async has(name: RepositoryName): Promise<boolean> {
    const isPart = async (part: string): Promise<boolean> =>
      this.#limiter.run(() => isThere(this.#client, `${topOf(name)}${part}/`));
    return (await isPart("_manifests")) || (await isPart("_layers"));
  }

  async *layers(name: RepositoryName, note: Note): AsyncGenerator<Digest, void, void> {
    for await (const { digest } of this.#links(`${topOf(name)}_layers/`, note)) yield digest;
  }

  revisions(name: RepositoryName, note: Note): AsyncIterable<ForeignRevision> {
    return this.#links(`${topOf(name)}_manifests/revisions/`, note);
  }

  /** The listing goes over the tags' earlier digests too: they come with it, a thousand a request. */
  async *tags(name: RepositoryName, note: Note): AsyncGenerator<ForeignTag, void, void> {
    const top = `${topOf(name)}_manifests/tags/`;
    for await (const objects of this.#pages(top)) {
      const links = objects.flatMap((object) => {
        const [, text] = TAG_LINK.exec(object.key.slice(top.length)) ?? [];
        if (text === undefined) return [];
        const tag = parseTag(text);
        if (tag !== undefined) return [{ tag, object }];
        note({ kind: "name not valid", where: shown(object.key) });
        return [];
      });
      const read = await Promise.all(
        links.map(async ({ tag, object }) => ({ tag, ...(await this.#read(object)) })),
      );
      for (const found of read) {
        if ("kind" in found) note(found);
        else yield found;
      }
    }
  }

  async blob(digest: Digest): Promise<ForeignBlob | Flaw> {
    const known = this.#found.get(digest);
    if (known !== undefined) return known;
    const locator = locatorOf(digest);
    const head = await this.#limiter.run(() => this.#client.head(locator));
    if (head === undefined) return { kind: "bytes missing", where: digest };
    const { size, headers } = head;
    if (size === 0 && !isOfNothing(digest)) return { kind: "bytes empty", where: digest };
    const at = Date.parse(headers.get("last-modified") ?? "");
    const blob = { locator, size, at: Number.isNaN(at) ? 0 : at };
    this.#found.set(digest, blob, 1);
    return blob;
  }

  /** Of the names, sizes and times of all links, in whatever order they are listed. */
  async stamp(name: RepositoryName): Promise<string> {
    const sum = Buffer.alloc(32);
    for (const part of ["_layers", "_manifests"]) {
      for await (const objects of this.#pages(`${topOf(name)}${part}/`)) {
        for (const { key, size, modified } of objects) {
          const hash = new Bun.CryptoHasher("sha256").update(`${key} ${size} ${modified}`).digest();
          for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) ^ (hash[i] ?? 0);
        }
      }
    }
    return sum.toString("hex").slice(0, 32);
  }

  async *#links(top: string, note: Note): AsyncGenerator<ForeignRevision, void, void> {
    for await (const objects of this.#pages(top)) {
      for (const found of await Promise.all(objects.map((object) => this.#link(object, top)))) {
        if (found === undefined) continue;
        if ("kind" in found) note(found);
        else yield found;
      }
    }
  }

  /** `undefined` for what is no link: signatures of old manifests lie beside it. */
  async #link(object: ListedObject, top: string): Promise<ForeignRevision | Flaw | undefined> {
    const { key, size, modified } = object;
    const [, algorithm, hex] = DIGEST_LINK.exec(key.slice(top.length)) ?? [];
    if (algorithm === undefined) return undefined;
    const digest = parseDigest(`${algorithm}:${hex}`);
    if (digest === undefined) return { kind: "name not valid", where: shown(key) };
    if (size === digest.length) return { digest, at: modified };
    const read = await this.#read(object);
    if ("kind" in read || read.digest === digest) return read;
    return unreadable(key, `it names ${read.digest}`);
  }

  async #read({ key, size, modified }: ListedObject): Promise<ForeignRevision | Flaw> {
    if (size > LINK_BYTES_MAX) return unreadable(key, `it has ${size} bytes`);
    const bytes = await this.#limiter.run(() => this.#client.get(key, size));
    if (bytes === undefined) return unreadable(key, "it is missing");
    const text = Buffer.from(bytes).toString("latin1").trim();
    const digest = parseDigest(text);
    if (digest !== undefined) return { digest, at: modified };
    return unreadable(key, text === "" ? "it is empty" : undefined);
  }

  async *#pages(prefix: string): AsyncGenerator<readonly ListedObject[], void, void> {
    let token: string | undefined;
    do {
      const page: Page = await this.#list(prefix, { token });
      yield page.objects;
      token = page.next;
    } while (token !== undefined);
  }

  #list(
    prefix: string,
    options: { readonly delimited?: boolean; readonly token: string | undefined },
  ): Promise<Page> {
    return this.#limiter.run(() => this.#client.list(prefix, options));
  }
}

function topOf(name: string): string {
  return name === "" ? REPOSITORIES : `${REPOSITORIES}${name}/`;
}

function readFolder(
  name: string,
  { objects, prefixes }: Page,
  note: Note,
): { readonly isRepository: boolean; readonly children: readonly Folder[] } {
  const top = topOf(name);
  const children: Folder[] = [];
  let isRepository = false;
  for (const prefix of prefixes) {
    const part = prefix.slice(top.length, -1);
    const path = name === "" ? part : `${name}/${part}`;
    if (name !== "" && part.startsWith("_")) {
      isRepository ||= part === "_manifests" || part === "_layers";
    } else if (parseName(path) === undefined) {
      note({ kind: "name not valid", where: shown(prefix) });
    } else children.push({ name: path, token: undefined, isRepository: false });
  }
  for (const { key } of objects) {
    // Some tools mark folders by empty objects.
    if (!key.endsWith("/")) note(notPlain(key));
  }
  return { isRepository, children };
}

/** Whether there is anything below a prefix; some stores give empty pages before others. */
async function isThere(client: S3Client, prefix: string): Promise<boolean> {
  let token: string | undefined;
  do {
    const page: Page = await client.list(prefix, { delimited: true, token });
    const isMarker = (key: string): boolean => key === prefix;
    if (page.prefixes.length > 0 || page.objects.some(({ key }) => !isMarker(key))) return true;
    token = page.next;
  } while (token !== undefined);
  return false;
}

function unreadable(where: string, reason: string | undefined): Flaw {
  const kind = "link not readable as a digest";
  return { kind, where: shown(where), ...(reason === undefined ? {} : { reason }) };
}
