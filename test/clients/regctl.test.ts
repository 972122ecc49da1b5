import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { storesOfSuite } from "../support/shared-place.ts";
import {
  busyboxImage,
  layeredImage,
  multiArchImage,
  platforms,
  type Sample,
} from "./support/images.ts";
import { useLab } from "./support/lab.ts";
import { mediaTypes, sha256 } from "./support/layout.ts";
import { describeWith } from "./support/tools.ts";
import { openWire, type Wire } from "./support/wire.ts";

setDefaultTimeout(120_000);

/** A blob that comes from a bucket has no Content-Length: ARCHITECTURE, "Limits of this version". */
const HAS_LENGTH = !["postgres", "etcd"].includes(storesOfSuite() ?? "");

describeWith(["regctl", "busybox"], "regctl", () => {
  const lab = useLab();
  const regctl = async (...args: readonly string[]): Promise<string> =>
    (await lab.run(["regctl", ...args])).stdout.trim();
  const remote = (reference: string): string => `${lab.host}/${reference}`;
  const ocidir = ({ layout, tag }: Sample): string => `ocidir://${layout.dir}:${tag}`;
  const through = (wire: Wire): readonly string[] => ["--host", `reg=${wire.host},tls=disabled`];

  beforeAll(() => regctl("registry", "set", lab.host, "--tls", "disabled", "--skip-check"));

  test("copies a layout into the registry and out again", async () => {
    const image = await multiArchImage(lab.path("multi"));
    await regctl("image", "copy", ocidir(image), remote("regctl/multi:v1"));
    expect(await lab.api.verify("regctl/multi", "v1")).toBe(image.root.digest);
    expect(await regctl("image", "digest", remote("regctl/multi:v1"))).toBe(image.root.digest);
    for (const { architecture } of platforms) {
      const config = await regctl(
        "image",
        "inspect",
        "--platform",
        `linux/${architecture}`,
        remote("regctl/multi:v1"),
      );
      expect(JSON.parse(config).architecture).toBe(architecture);
    }
    await regctl("image", "copy", remote("regctl/multi:v1"), `ocidir://${lab.path("back")}:v1`);
    expect(await regctl("image", "digest", `ocidir://${lab.path("back")}:v1`)).toBe(
      image.root.digest,
    );
    await regctl("image", "export", remote("regctl/multi:v1"), lab.path("multi.tar"));
    await regctl("image", "import", remote("regctl/imported:v1"), lab.path("multi.tar"));
    expect(await lab.api.verify("regctl/imported", "v1")).toBe(image.root.digest);
  });

  test("copies between repositories without an upload", async () => {
    const image = await layeredImage(lab.path("layers"), 100);
    await lab.api.push(image, "regctl/layers");
    await using wire = await openWire(lab.host);
    await regctl(
      ...through(wire),
      "image",
      "copy",
      `${wire.host}/regctl/layers:v1`,
      `${wire.host}/regctl/copy:v1`,
    );
    expect(await lab.api.verify("regctl/copy", "v1")).toBe(image.root.digest);
    expect(wire.requests.filter((line) => line.includes("mount=")).length).toBeGreaterThan(100);
    expect(wire.requests.filter((line) => /^(PATCH|PUT .*blobs)/.test(line))).toEqual([]);
  });

  test("keeps an image with sha512 digests", async () => {
    const image = await busyboxImage(lab.path("sha512"));
    const name = `ocidir://${lab.path("sha512")}`;
    await regctl(
      "image",
      "mod",
      ocidir(image),
      "--digest-algo",
      "sha512",
      "--create",
      `${name}:v512`,
    );
    await regctl("image", "copy", `${name}:v512`, remote("regctl/sha512:v1"));
    const digest = await regctl("manifest", "head", remote("regctl/sha512:v1"));
    expect(digest).toMatch(/^sha512:[0-9a-f]{128}$/);
    await lab.api.verify("regctl/sha512", "v1");
    await lab.api.verify("regctl/sha512", digest);
    await regctl(
      "image",
      "copy",
      remote(`regctl/sha512@${digest}`),
      `ocidir://${lab.path("sha512-back")}:v1`,
    );
  });

  test("deletes one tag and leaves its manifest and other tags", async () => {
    const image = await busyboxImage(lab.path("tags"));
    await lab.api.push(image, "regctl/tags");
    await regctl("image", "copy", remote("regctl/tags:v1"), remote("regctl/tags:v2"));
    await using wire = await openWire(lab.host);
    await regctl(...through(wire), "tag", "delete", `${wire.host}/regctl/tags:v1`);
    // Where deleting a tag fails, regctl moves the tag to a dummy manifest and deletes that.
    expect(wire.requests.filter((line) => line.startsWith("PUT"))).toEqual([]);
    expect(await regctl("tag", "ls", remote("regctl/tags"))).toBe("v2");
    expect(await lab.api.verify("regctl/tags", image.root.digest)).toBe(image.root.digest);
    await regctl("manifest", "delete", remote(`regctl/tags@${image.root.digest}`));
    expect(await lab.api.manifestStatus("regctl/tags", "v2")).toBe(404);
  });

  test("lists tags page by page, and repositories", async () => {
    await lab.api.push(await busyboxImage(lab.path("pages")), "regctl/pages");
    for (const tag of ["v2", "v3", "v10"])
      await regctl("image", "copy", remote("regctl/pages:v1"), remote(`regctl/pages:${tag}`));
    const first = await regctl("tag", "ls", "--limit", "2", remote("regctl/pages"));
    expect(first.split("\n")).toEqual(["v1", "v10"]);
    const second = await regctl(
      "tag",
      "ls",
      "--limit",
      "2",
      "--last",
      "v10",
      remote("regctl/pages"),
    );
    expect(second.split("\n")).toEqual(["v2", "v3"]);
    expect((await regctl("repo", "ls", lab.host)).split("\n")).toContain("regctl/pages");
  });

  test("puts artifacts with a subject and lists its referrers", async () => {
    const image = await busyboxImage(lab.path("subject"));
    await lab.api.push(image, "regctl/subject");
    const attach = (type: string, text: string) =>
      lab.run(
        [
          "regctl",
          "artifact",
          "put",
          "--artifact-type",
          type,
          "--subject",
          remote("regctl/subject:v1"),
        ],
        { stdin: text },
      );
    await attach("application/vnd.holdfast.sbom", "sbom");
    await attach("application/vnd.holdfast.scan", "scan one");
    await attach("application/vnd.holdfast.scan", "scan two");
    const listed = async (
      ...args: readonly string[]
    ): Promise<readonly { readonly artifactType: string }[]> =>
      JSON.parse(
        await regctl(
          "artifact",
          "list",
          remote("regctl/subject:v1"),
          "--format",
          "{{json .Descriptors}}",
          ...args,
        ),
      );
    expect((await listed()).length).toBe(3);
    const scans = await listed("--filter-artifact-type", "application/vnd.holdfast.scan");
    expect(scans.map(({ artifactType }) => artifactType)).toEqual(
      Array(2).fill("application/vnd.holdfast.scan"),
    );
    const sbom = [
      "--filter-artifact-type",
      "application/vnd.holdfast.sbom",
      "--subject",
      remote("regctl/subject:v1"),
    ];
    expect(await regctl("artifact", "get", ...sbom)).toBe("sbom");
    expect((await lab.api.referrers("regctl/subject", image.root.digest))?.length).toBe(3);
    expect(await lab.api.tags("regctl/subject")).toEqual(["v1"]);

    await regctl(
      "image",
      "copy",
      "--referrers",
      remote("regctl/subject:v1"),
      remote("regctl/moved:v1"),
    );
    expect((await lab.api.referrers("regctl/moved", image.root.digest))?.length).toBe(3);
  });

  test("uploads a blob in chunks, reads, copies and deletes it", async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(60_000));
    const digest = sha256(bytes);
    await Bun.write(lab.path("blob"), bytes);
    await using wire = await openWire(lab.host);
    await regctl(
      "registry",
      "set",
      wire.host,
      "--tls",
      "disabled",
      "--skip-check",
      "--blob-max",
      "1",
      "--blob-chunk",
      "16384",
    );
    const put = [
      "sh",
      "-c",
      `regctl blob put --digest ${digest} ${wire.host}/regctl/blob < ${lab.path("blob")}`,
    ];
    expect((await lab.run(put)).stdout.trim()).toBe(digest);
    expect(wire.requests.filter((line) => line.startsWith("PATCH")).length).toBe(4);

    const read = await lab.run([
      "sh",
      "-c",
      `regctl blob get ${remote(`regctl/blob ${digest}`)} | sha256sum`,
    ]);
    expect(`sha256:${read.stdout.split(" ")[0]}`).toBe(digest);
    await regctl("blob", "copy", remote("regctl/blob"), remote("regctl/blob-copy"), digest);
    expect(await lab.api.blobStatus("regctl/blob-copy", digest)).toBe(200);
    await regctl("blob", "delete", remote("regctl/blob"), digest);
    expect(await lab.api.blobStatus("regctl/blob", digest)).toBe(404);
    expect(await lab.api.blobStatus("regctl/blob-copy", digest)).toBe(200);
    await lab.refused(["regctl", "blob", "head", remote("regctl/blob"), digest]);
  });

  test("puts a manifest by digest and adds it to an index", async () => {
    const image = await busyboxImage(lab.path("manifest"));
    await lab.api.push(image, "regctl/manifest");
    const raw = await regctl(
      "manifest",
      "get",
      "--format",
      "raw-body",
      remote("regctl/manifest:v1"),
    );
    expect(sha256(new TextEncoder().encode(raw))).toBe(image.root.digest);
    const annotated = JSON.stringify({ ...JSON.parse(raw), annotations: { held: "fast" } });
    await lab.run(
      [
        "regctl",
        "manifest",
        "put",
        "--by-digest",
        "--content-type",
        mediaTypes.manifest,
        remote("regctl/manifest"),
      ],
      { stdin: annotated },
    );
    const digest = sha256(new TextEncoder().encode(annotated));
    expect(await lab.api.verify("regctl/manifest", digest)).toBe(digest);
    await regctl(
      "index",
      "create",
      remote("regctl/manifest:list"),
      "--ref",
      remote("regctl/manifest:v1"),
    );
    await regctl(
      "index",
      "add",
      remote("regctl/manifest:list"),
      "--ref",
      remote(`regctl/manifest@${digest}`),
    );
    await lab.api.verify("regctl/manifest", "list");
    expect((await lab.api.manifest("regctl/manifest", "list")).body.manifests?.length).toBe(2);
  });

  /** A blob of 32 MiB, and a way there that is cut once. */
  const cutPull = async (): Promise<{ readonly digest: string; readonly wire: Wire }> => {
    const bytes = crypto.getRandomValues(new Uint8Array(2 ** 16));
    await Bun.write(lab.path("piece"), bytes);
    await lab.run([
      "sh",
      "-c",
      `for n in $(seq 512); do cat ${lab.path("piece")}; done > ${lab.path("whole")}`,
    ]);
    const digest = (
      await lab.run(["sh", "-c", `regctl blob put ${remote("regctl/cut")} < ${lab.path("whole")}`])
    ).stdout.trim();
    const wire = await openWire(lab.host, { cutAfter: 8 * 2 ** 20, cuts: 1 });
    await regctl("registry", "set", wire.host, "--tls", "disabled", "--skip-check");
    return { digest, wire };
  };

  if (HAS_LENGTH) {
    test("resumes a pull that was cut in the middle of a blob", async () => {
      const { digest, wire } = await cutPull();
      await using _wire = wire;
      const read = await lab.run([
        "sh",
        "-c",
        `regctl blob get ${wire.host}/regctl/cut ${digest} | sha256sum`,
      ]);
      expect(`sha256:${read.stdout.split(" ")[0]}`).toBe(digest);
      expect(wire.cuts).toBe(1);
      expect(wire.requests.filter((line) => / bytes=[1-9]\d*-/.test(line)).length).toBeGreaterThan(
        0,
      );
    });
  } else {
    test("says that a pull was cut which it cannot resume", async () => {
      const { digest, wire } = await cutPull();
      await using _wire = wire;
      const said = await lab.refused(["regctl", "blob", "get", `${wire.host}/regctl/cut`, digest]);
      expect(said.slice(-300)).toContain("unexpected EOF");
      expect(wire.cuts).toBe(1);
    });
  }
});
