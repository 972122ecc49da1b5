/**
 * The directory that distribution's `filesystem` driver writes, below `docker/registry/v2` of the data directory:
 *
 *   blobs/<algorithm>/<first two hex>/<hex>/data
 *   repositories/<name>/_layers/<algorithm>/<hex>/link
 *   repositories/<name>/_manifests/revisions/<algorithm>/<hex>/link
 *   repositories/<name>/_manifests/tags/<tag>/current/link
 *
 * A link file holds a digest as text.
 */
import { join, resolve } from "node:path";
import { ALGORITHMS, algorithmOf, encodedOf, parseDigest, type Digest } from "../../oci/digest.ts";
import { parseName, parseTag, type RepositoryName } from "../../oci/name.ts";
import { isOfNothing, locatorOf, notPlain, shown, TOP } from "../distribution.ts";
import type { Flaw, ForeignBlob, ForeignRevision, RemovableLayout } from "../foreign.ts";
import type { ForeignTag, Note } from "../foreign.ts";
import { BlobStoreUnavailable, type StoredBlob } from "../port.ts";
import { entriesOf, isDirectory, lstat, mapped, readLink } from "./distribution-files.ts";
import { claimFile, removeTree } from "./distribution-takeover.ts";
import { guarded } from "./errors.ts";

/** Link files read at once. */
const WIDTH = 32;

/**
 * The layout in this data directory, or `undefined` when there is none. Throws `BlobStoreUnavailable` where a
 * symbolic link stands in its place: nothing is served through links, and serving nothing would hide it.
 */
export function openDistributionLayout(directory: string): RemovableLayout | undefined {
  const root = resolve(directory);
  for (const part of ["docker", "docker/registry", TOP, `${TOP}/repositories`, `${TOP}/blobs`]) {
    const stats = lstat(join(root, part));
    if (stats?.isSymbolicLink()) {
      throw new BlobStoreUnavailable(
        `${join(root, part)} is a symbolic link, and Holdfast follows none: mount the directory there (mount --bind), or name as data directory the one it leads to`,
      );
    }
    if (!stats?.isDirectory()) return undefined;
  }
  return new DistributionLayout(root);
}

/** The layout in this data directory as far as it is still there: for whoever ends what was begun. */
export function restOfDistributionLayout(directory: string): RemovableLayout {
  return openDistributionLayout(directory) ?? new DistributionLayout(resolve(directory));
}

class DistributionLayout implements RemovableLayout {
  readonly #root: string;
  /** Fan-out directories of blobs seen to be directories. */
  readonly #fanOut = new Set<string>();

  constructor(root: string) {
    this.#root = root;
  }

  async *repositories(note: Note): AsyncGenerator<RepositoryName, void, void> {
    const waiting = [""];
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      const entries = await guarded(() => entriesOf(this.#repository(name)));
      let isRepository = false;
      for (const entry of entries) {
        const path = name === "" ? entry.name : `${name}/${entry.name}`;
        const isPlain = entry.isDirectory();
        if (name !== "" && entry.name.startsWith("_")) {
          const counts = entry.name === "_manifests" || entry.name === "_layers";
          if (!isPlain) note(notPlain(`${TOP}/repositories/${path}`));
          else if (counts) isRepository = true;
        } else if (!isPlain) note(notPlain(`${TOP}/repositories/${path}`));
        else if (parseName(path) === undefined) {
          note({ kind: "name not valid", where: shown(`${TOP}/repositories/${path}`) });
        } else waiting.push(path);
      }
      const parsed = isRepository ? parseName(name) : undefined;
      if (parsed !== undefined) yield parsed;
    }
  }

  has(name: RepositoryName): Promise<boolean> {
    return guarded(() => {
      let path = this.#repository("");
      for (const part of name.split("/")) {
        path = join(path, part);
        if (!isDirectory(path)) return false;
      }
      return isDirectory(join(path, "_manifests")) || isDirectory(join(path, "_layers"));
    });
  }

  async *layers(name: RepositoryName, note: Note): AsyncGenerator<Digest, void, void> {
    for await (const { digest } of this.#links(name, "_layers", note)) yield digest;
  }

  revisions(name: RepositoryName, note: Note): AsyncIterable<ForeignRevision> {
    return this.#links(name, "_manifests/revisions", note);
  }

  async *tags(name: RepositoryName, note: Note): AsyncGenerator<ForeignTag, void, void> {
    const names = await this.#tagNames(name, note);
    for await (const found of mapped(names, WIDTH, (tag) => this.#tag(name, tag))) {
      if ("kind" in found) note(found);
      else yield found;
    }
  }

  blob(digest: Digest): Promise<ForeignBlob | Flaw> {
    return guarded(() => {
      const locator = locatorOf(digest);
      if (!this.#isPlainPlace(digest)) return { kind: "bytes missing", where: digest };
      const stats = lstat(join(this.#root, locator));
      if (stats === undefined) return { kind: "bytes missing", where: digest };
      if (!stats.isFile()) return notPlain(locator);
      if (stats.size === 0 && !isOfNothing(digest)) return { kind: "bytes empty", where: digest };
      return { locator, size: stats.size, at: Math.round(stats.mtimeMs) };
    });
  }

  async *blobs(): AsyncGenerator<Digest, void, void> {
    for (const algorithm of ALGORITHMS) {
      const top = join(this.#root, TOP, "blobs", algorithm);
      for (const fan of await guarded(() => entriesOf(top))) {
        for (const entry of await guarded(() => entriesOf(join(top, fan.name)))) {
          const digest = parseDigest(`${algorithm}:${entry.name}`);
          if (digest !== undefined && entry.name.startsWith(fan.name)) yield digest;
        }
      }
    }
  }

  stamp(name: RepositoryName): Promise<string> {
    return guarded(async () => {
      const hash = new Bun.CryptoHasher("sha256");
      const add = (path: string): void => {
        const stats = lstat(path);
        hash.update(`${path} ${stats?.mtimeMs ?? 0} ${stats?.ino ?? 0} ${stats?.size ?? 0}\n`);
      };
      const repository = this.#repository(name);
      for (const part of ["_layers", "_manifests/revisions"]) {
        for (const algorithm of ALGORITHMS) add(join(repository, part, algorithm));
      }
      const tags = join(repository, "_manifests/tags");
      add(tags);
      let seen = 0;
      for (const entry of (await entriesOf(tags)).sort(byName)) {
        add(join(tags, entry.name, "current/link"));
        // A file system call takes microseconds; requests get their turn between some of them.
        if (++seen % 256 === 0) await Bun.sleep(0);
      }
      return hash.digest("hex").slice(0, 32);
    });
  }

  claim(digest: Digest): Promise<StoredBlob> {
    return guarded(() => claimFile(this.#root, locatorOf(digest), digest));
  }

  remove(): Promise<void> {
    return guarded(() => removeTree(this.#root, TOP));
  }

  #repository(name: string): string {
    return join(this.#root, TOP, "repositories", name);
  }

  /** Path of a part of a repository; the path of nothing when it is not reached by directories alone. */
  #part(name: RepositoryName, part: string): Promise<string> {
    return guarded(() => {
      const [first = ""] = part.split("/");
      const repository = this.#repository(name);
      return isDirectory(join(repository, first)) ? join(repository, part) : join(repository, "_");
    });
  }

  /** Directories named by digests, each with a link file that says the same digest. */
  async *#links(
    name: RepositoryName,
    part: string,
    note: Note,
  ): AsyncGenerator<ForeignRevision, void, void> {
    const top = await this.#part(name, part);
    for (const algorithm of await guarded(() => entriesOf(top))) {
      const directory = join(top, algorithm.name);
      const where = `${TOP}/repositories/${name}/${part}/${algorithm.name}`;
      if (!algorithm.isDirectory()) {
        note(notPlain(where));
        continue;
      }
      const entries = await guarded(() => entriesOf(directory));
      const read = async (entry: (typeof entries)[number]): Promise<ForeignRevision | Flaw> => {
        const path = `${where}/${entry.name}`;
        const digest = parseDigest(`${algorithm.name}:${entry.name}`);
        if (digest === undefined) return { kind: "name not valid", where: shown(path) };
        if (!entry.isDirectory()) return notPlain(path);
        const link = await this.#link(`${path}/link`);
        if ("kind" in link) return link;
        if (link.digest !== digest) {
          const reason = `it names ${link.digest}`;
          return { kind: "link not readable as a digest", where: `${path}/link`, reason };
        }
        return link;
      };
      for await (const found of mapped(entries, WIDTH, read)) {
        if ("kind" in found) note(found);
        else yield found;
      }
    }
  }

  async #tagNames(name: RepositoryName, note: Note): Promise<string[]> {
    const top = await this.#part(name, "_manifests/tags");
    const entries = await guarded(() => entriesOf(top));
    return entries.flatMap((entry) => {
      const where = `${TOP}/repositories/${name}/_manifests/tags/${entry.name}`;
      if (parseTag(entry.name) === undefined) note({ kind: "name not valid", where: shown(where) });
      else if (!entry.isDirectory()) note(notPlain(where));
      else return [entry.name];
      return [];
    });
  }

  async #tag(name: RepositoryName, text: string): Promise<ForeignTag | Flaw> {
    const where = `${TOP}/repositories/${name}/_manifests/tags/${text}/current`;
    const tag = parseTag(text);
    if (tag === undefined) return { kind: "name not valid", where: shown(where) };
    const current = await guarded(() => lstat(join(this.#root, where)));
    if (current !== undefined && !current.isDirectory()) return notPlain(where);
    const link = await this.#link(`${where}/link`);
    return "kind" in link ? link : { tag, ...link };
  }

  async #link(where: string): Promise<ForeignRevision | Flaw> {
    const found = await guarded(() => readLink(join(this.#root, where)));
    if (found === "not plain") return notPlain(where);
    const digest = found === "missing" ? undefined : parseDigest(found.text);
    if (found !== "missing" && digest !== undefined) return { digest, at: found.at };
    const reason = found === "missing" ? "it is missing" : found.text === "" ? "it is empty" : "";
    return { kind: "link not readable as a digest", where, ...(reason === "" ? {} : { reason }) };
  }

  #isPlainPlace(digest: Digest): boolean {
    const [algorithm, hex] = [algorithmOf(digest), encodedOf(digest)];
    const top = join(this.#root, TOP, "blobs", algorithm);
    const fan = join(top, hex.slice(0, 2));
    if (!this.#fanOut.has(fan)) {
      if (!isDirectory(top) || !isDirectory(fan)) return false;
      this.#fanOut.add(fan);
    }
    return isDirectory(join(fan, hex));
  }
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}
