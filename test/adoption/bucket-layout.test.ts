import { expect, test } from "bun:test";
import { join } from "node:path";
import { openDistributionLayout as openDirectory } from "../../src/blobs/file/distribution-layout.ts";
import { isFlaw, type Flaw, type ForeignLayout } from "../../src/blobs/foreign.ts";
import { hasDistributionLayout, openDistributionLayout } from "../../src/blobs/s3/index.ts";
import { parseName, type RepositoryName } from "../../src/oci/name.ts";
import { parseDigest } from "../../src/oci/digest.ts";
import { describeWith } from "../clients/support/tools.ts";
import { bytesOf, sha256 } from "../support/push.ts";
import { S3Quirks, STORJ_RULES } from "../support/s3-quirks.ts";
import { openNodes } from "../support/s3-stores.ts";
import { bucketPlace } from "./support/bucket-place.ts";
import { ForeignFiles } from "./support/foreign-files.ts";

async function sorted(items: AsyncIterable<string | object>): Promise<string[]> {
  const texts: string[] = [];
  for await (const item of items) texts.push(JSON.stringify(item));
  return texts.toSorted();
}

/** Everything that a layout says of a repository but times, which a bucket has in seconds. */
async function said(layout: ForeignLayout, name: RepositoryName, flaws: Flaw[]): Promise<object> {
  const note = (flaw: Flaw): void => void flaws.push(flaw);
  async function* plain(items: AsyncIterable<{ at: number }>): AsyncGenerator<object> {
    for await (const { at, ...rest } of items) {
      expect(Math.abs(at - Date.now())).toBeLessThan(120_000);
      yield rest;
    }
  }
  return {
    layers: await sorted(layout.layers(name, note)),
    revisions: await sorted(plain(layout.revisions(name, note))),
    tags: await sorted(plain(layout.tags(name, note))),
    has: await layout.has(name),
  };
}

function named(text: string): RepositoryName {
  const name = parseName(text);
  if (name === undefined) throw new Error(text);
  return name;
}

describeWith(["versitygw"], "a bucket of distribution's layout", () => {
  for (const kind of ["plain", "Storj's rules"]) {
    test(`is read like a directory, over many pages (${kind})`, async () => {
      await using here = await bucketPlace("some/where/");
      const rules = kind === "plain" ? {} : { rules: STORJ_RULES };
      await using proxy = await S3Quirks.start({
        target: here.s3,
        ...rules,
      });
      const { accessKeyId, secretAccessKey } = here.s3;
      const options = {
        bucket: "images",
        prefix: here.prefix,
        endpoint: proxy.endpoint,
        credentials: { accessKeyId, secretAccessKey },
      };
      expect(await hasDistributionLayout(options)).toBe(false);

      const files = new ForeignFiles(here.files);
      for (let i = 0; i < 1100; i++) files.layer(`many/r${i}`, sha256(`${i % 50}`));
      const { manifest, layer } = files.image("many", "v0", "a layer");
      for (let i = 1; i < 1100; i++) files.tag("many", `v${i}`, manifest);
      for (let i = 0; i < 1100; i++) files.revision("many", sha256(`manifest ${i}`));
      files.write("repositories/many/_manifests/tags/v1/index/sha256/x/link", manifest);
      files.write(
        `repositories/many/_manifests/revisions/sha256/${manifest.slice(7)}/signatures/sha256/${layer.slice(7)}/link`,
        layer,
      );
      files.write("repositories/many/_uploads/1/data", "unfinished");
      expect(await hasDistributionLayout(options)).toBe(true);
      expect(await hasDistributionLayout({ ...options, prefix: "" })).toBe(false);

      const [s3, directory] = [openDistributionLayout(options), openDirectory(here.files)];
      if (directory === undefined) throw new Error("no directory");
      const none = (flaw: Flaw): void => {
        throw new Error(JSON.stringify(flaw));
      };
      const names = await sorted(s3.repositories(none));
      expect(names).toHaveLength(1101);
      expect(names).toEqual(await sorted(directory.repositories(none)));
      const flaws: Flaw[] = [];
      for (const text of ["many", "many/r7", "absent", "many/absent"]) {
        const name = named(text);
        expect(await said(s3, name, flaws)).toEqual(await said(directory, name, flaws));
      }
      expect(flaws).toEqual([]);

      // A stamp stays as long as nothing changes, whatever the order of the listing.
      const many = named("many");
      const stamp = await s3.stamp(many);
      expect(await s3.stamp(many)).toBe(stamp);
      expect(await openDistributionLayout(options).stamp(many)).toBe(stamp);
      files.layer("many", sha256("one more"));
      const second = await s3.stamp(many);
      expect(second).not.toBe(stamp);
      await Bun.sleep(1100);
      files.tag("many", "v0", sha256("manifest 1"));
      expect(await s3.stamp(many)).not.toBe(second);
      expect(proxy.refused()).toEqual([]);
      expect(new Set(Object.keys(proxy.counts()))).toEqual(new Set(["ListObjectsV2", "GetObject"]));
    }, 60_000);
  }

  test("flaws are named, and what is no link is passed over", async () => {
    await using here = await bucketPlace();
    const files = new ForeignFiles(here.files);
    const { accessKeyId, secretAccessKey, endpoint } = here.s3;
    const layout = openDistributionLayout({
      bucket: "images",
      endpoint,
      credentials: { accessKeyId, secretAccessKey },
    });
    const good = files.image("good", "1.0", "the good layer");
    files.layer("good", sha256("one name"), good.layer);
    files.layer("good", sha256("padded"), `${sha256("padded")}\n`);
    files.layer("good", sha256("another"), `${good.layer} \n`);
    files.layer("good", sha256("empty"), "");
    files.write("repositories/good/_layers/sha256/nothex/link", good.layer);
    files.tag("good", "empty", "");
    files.tag("good", "garbage", "sha256:zzz");
    files.tag("good", "long", `${good.manifest}${" ".repeat(400)}`);
    files.tag("good", "-wrong", good.manifest);
    files.write("repositories/note.txt", "an object where repositories are");
    files.image("Upper/case", "1.0", "x");

    const flaws: Flaw[] = [];
    const note = (flaw: Flaw): void => void flaws.push(flaw);
    expect(await sorted(layout.repositories(note))).toEqual(['"good"']);
    expect(flaws.map(({ kind }) => kind).toSorted()).toEqual([
      "name not valid",
      "not a plain file or directory",
    ]);
    flaws.length = 0;
    const found = (await said(layout, named("good"), flaws)) as Record<string, unknown>;
    // A link of the right size is taken at its name.
    expect(found["layers"]).toEqual(
      [good.config, good.layer, sha256("one name"), sha256("padded")]
        .map((digest) => JSON.stringify(digest))
        .toSorted(),
    );
    expect(found["tags"]).toEqual([JSON.stringify({ tag: "1.0", digest: good.manifest })]);
    const where = (text: string): Flaw[] => flaws.filter((flaw) => flaw.where.includes(text));
    expect(where(sha256("another").slice(7))[0]?.reason).toBe(`it names ${good.layer}`);
    expect(where(sha256("empty").slice(7))[0]?.reason).toBe("it is empty");
    expect(where("nothex")[0]?.kind).toBe("name not valid");
    expect(where("tags/long")[0]?.reason).toContain("bytes");
    expect(where("-wrong")[0]?.kind).toBe("name not valid");
    expect(flaws).toHaveLength(7);

    const of = async (text: string): Promise<string> => {
      const digest = parseDigest(text);
      const blob = digest && (await layout.blob(digest));
      if (blob === undefined) throw new Error(text);
      return isFlaw(blob) ? blob.kind : `${blob.size} ${blob.locator}`;
    };
    const emptied = files.blob("emptied");
    await Bun.write(files.blobPath(emptied), "");
    expect(await of(emptied)).toBe("bytes empty");
    expect(await of(sha256("never written"))).toBe("bytes missing");
    expect(await of(files.blob(""))).toStartWith("0 docker/registry/v2/blobs/sha256/e3/");
    expect(await of(good.layer)).toStartWith("14 docker/");
    expect(join(here.files, (await of(good.layer)).slice(3))).toBe(files.blobPath(good.layer));
  }, 30_000);

  test("its blobs are read where they lie, never listed among ours and never removed", async () => {
    await using here = await bucketPlace("x/");
    const files = new ForeignFiles(here.files);
    const { accessKeyId, secretAccessKey, endpoint } = here.s3;
    const options = {
      bucket: "images",
      prefix: here.prefix,
      endpoint,
      credentials: { accessKeyId, secretAccessKey },
    };
    const nodes = openNodes(options);
    try {
      const store = await nodes.node("a");
      const bytes = bytesOf(1, 100_000);
      const digest = parseDigest(files.blob(bytes));
      const blob = digest && (await openDistributionLayout(options).blob(digest));
      if (blob === undefined || isFlaw(blob)) throw new Error("no blob");
      const { locator, size } = blob;
      expect(await store.stat(locator)).toBe(size);
      expect(await store.read(locator, size)).toEqual(bytes);
      const part = await store.open(locator, size, { start: 7, end: 9 });
      expect(await new Response(part).bytes()).toEqual(bytes.slice(7, 10));
      const url = await store.presign?.(locator, 60);
      expect(await (await fetch(url ?? "")).bytes()).toEqual(bytes);
      expect(await store.open(locator, size + 1)).toBeUndefined();
      await store.delete(locator);
      expect(await store.stat(locator)).toBe(size);
      expect(await sorted(store.list())).toEqual([]);
    } finally {
      await nodes.close();
    }
  }, 30_000);
});
