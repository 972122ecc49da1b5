import { expect, setDefaultTimeout, test } from "bun:test";
import {
  bigImage,
  busyboxImage,
  layeredImage,
  manyNames,
  multiArchImage,
  platforms,
} from "./support/images.ts";
import { smallPages, useLab } from "./support/lab.ts";
import { mediaTypes } from "./support/layout.ts";
import { tar } from "./support/tar.ts";
import { describeWith } from "./support/tools.ts";
import { openWire } from "./support/wire.ts";

setDefaultTimeout(120_000);

describeWith(["crane", "busybox"], "crane", () => {
  const lab = useLab(smallPages);
  const crane = async (...args: readonly string[]): Promise<string> =>
    (await lab.run(["crane", ...args, "--insecure"], { timeout: 100 })).stdout.trim();
  const remote = (reference: string): string => `${lab.host}/${reference}`;

  test("pushes a layout and pulls it as a layout and as a tarball", async () => {
    const image = await busyboxImage(lab.path("app"));
    const pushed = await crane("push", image.layout.dir, remote("crane/app:v1"));
    expect(pushed).toBe(`${lab.host}/crane/app@${image.root.digest}`);
    expect(await lab.api.verify("crane/app", "v1")).toBe(image.root.digest);
    expect(await crane("digest", remote("crane/app:v1"))).toBe(image.root.digest);
    const manifest = await Bun.file(image.layout.blobPath(image.root.digest)).text();
    expect(await crane("manifest", remote("crane/app:v1"))).toBe(manifest);
    expect(JSON.parse(await crane("config", remote("crane/app:v1"))).architecture).toBe("amd64");

    await crane(
      "pull",
      "--format",
      "oci",
      remote(`crane/app@${image.root.digest}`),
      lab.path("back"),
    );
    for (const layer of JSON.parse(manifest).layers) {
      const path = layer.digest.replace(":", "/");
      const back = await Bun.file(`${lab.path("back")}/blobs/${path}`).bytes();
      expect(back).toEqual(await Bun.file(image.layout.blobPath(layer.digest)).bytes());
    }
    await crane("pull", remote("crane/app:v1"), lab.path("app.tar"));
    await crane("push", lab.path("app.tar"), remote("crane/tarball:v1"));
    await lab.api.verify("crane/tarball", "v1");
    await crane("validate", "--tarball", lab.path("app.tar"));
  });

  test("validates what it reads back layer by layer", async () => {
    await lab.api.push(await busyboxImage(lab.path("validate")), "crane/validate");
    await crane("validate", "--remote", remote("crane/validate:v1"));
  });

  test("copies an image between repositories by mounting", async () => {
    const image = await busyboxImage(lab.path("copy"));
    await lab.api.push(image, "crane/source");
    await using wire = await openWire(lab.host);
    await crane("copy", `${wire.host}/crane/source:v1`, `${wire.host}/crane/copy:v2`);
    expect(await lab.api.verify("crane/copy", "v2")).toBe(image.root.digest);
    const posts = wire.requests.filter((line) => line.startsWith("POST"));
    expect(posts.filter((line) => line.includes("from=crane%2Fsource")).length).toBe(posts.length);
    expect(wire.requests.filter((line) => line.startsWith("PATCH"))).toEqual([]);
  });

  test("pushes, copies and edits an index", async () => {
    const image = await multiArchImage(lab.path("multi"));
    // crane pushes a layout's one image; an index is what it copies.
    await lab.api.push(image, "crane/multi");
    await crane("copy", remote("crane/multi:v1"), remote("crane/multi-copy:v1"));
    expect(await lab.api.verify("crane/multi-copy", "v1")).toBe(image.root.digest);
    for (const { architecture } of platforms) {
      const config = await crane(
        "config",
        "--platform",
        `linux/${architecture}`,
        remote("crane/multi:v1"),
      );
      expect(JSON.parse(config).architecture).toBe(architecture);
    }
    await lab.api.push(await busyboxImage(lab.path("extra")), "crane/multi-extra");
    await crane(
      "index",
      "append",
      remote("crane/multi:v1"),
      "-m",
      remote("crane/multi-extra:v1"),
      "-t",
      remote("crane/multi:v2"),
    );
    await lab.api.verify("crane/multi", "v2");
    expect((await lab.api.manifest("crane/multi", "v2")).body.manifests?.length).toBe(
      platforms.length + 1,
    );
    await crane(
      "index",
      "filter",
      remote("crane/multi:v2"),
      "--platform",
      "linux/arm64",
      "-t",
      remote("crane/multi:v3"),
    );
    expect((await lab.api.manifest("crane/multi", "v3")).body.manifests?.length).toBe(1);
  });

  test("appends a layer and mutates an image", async () => {
    await lab.api.push(await busyboxImage(lab.path("base")), "crane/base");
    const bytes = new TextEncoder().encode("appended");
    await Bun.write(lab.path("layer.tar"), tar([{ path: "appended", bytes }]));
    await crane(
      "append",
      "-b",
      remote("crane/base:v1"),
      "-f",
      lab.path("layer.tar"),
      "-t",
      remote("crane/appended:v1"),
    );
    await crane(
      "mutate",
      remote("crane/appended:v1"),
      "--label",
      "held=fast",
      "-t",
      remote("crane/appended:v2"),
    );
    await lab.api.verify("crane/appended", "v2");
    await crane("export", remote("crane/appended:v2"), lab.path("flat.tar"));
    const listing = await lab.run(["tar", "-xOf", lab.path("flat.tar"), "appended"]);
    expect(listing.stdout).toBe("appended");
  });

  test("pushes and pulls 100 layers", async () => {
    const image = await layeredImage(lab.path("layers"), 100);
    await crane("push", image.layout.dir, remote("crane/layers:v1"));
    expect(await lab.api.verify("crane/layers", "v1")).toBe(image.root.digest);
    await crane("validate", "--remote", remote("crane/layers:v1"));
  });

  test("pushes and pulls a 1 GiB layer", async () => {
    const image = await bigImage(lab.path("big"), 2 ** 30);
    await crane("push", image.layout.dir, remote("crane/big:v1"));
    await crane("pull", "--format", "oci", remote("crane/big:v1"), lab.path("big-back"));
    const [layer] = (await lab.api.manifest("crane/big", "v1")).body.layers ?? [];
    expect(Bun.file(`${lab.path("big-back")}/blobs/${layer?.digest.replace(":", "/")}`).size).toBe(
      layer?.size ?? 0,
    );
    await lab.run(["rm", "-rf", lab.path("big"), lab.path("big-back")]);
  });

  test("lists repositories and tags, and deletes", async () => {
    const image = await busyboxImage(lab.path("list"));
    await lab.api.push(image, "crane/list");
    await crane("tag", remote("crane/list:v1"), "v2");
    const names = manyNames(23);
    await lab.api.tag("crane/list", "v1", names);
    expect((await crane("ls", remote("crane/list"))).split("\n")).toEqual([...names, "v1", "v2"]);
    const small = await layeredImage(lab.path("small"), 1);
    const repositories = names.map((name) => `crane/catalog/${name}`);
    for (const repository of repositories) await lab.api.push(small, repository);
    const catalog = (await crane("catalog", lab.host)).split("\n");
    expect(catalog.filter((name) => name.startsWith("crane/catalog/"))).toEqual(repositories);
    await crane("delete", remote(`crane/list@${image.root.digest}`));
    expect(await lab.api.manifestStatus("crane/list", image.root.digest)).toBe(404);
    expect(await lab.api.tags("crane/list")).toEqual([]);
    await lab.refused(["crane", "manifest", remote("crane/list:v2"), "--insecure"]);
  });

  test("streams one blob", async () => {
    const image = await busyboxImage(lab.path("blob"));
    await lab.api.push(image, "crane/blob");
    const [, layer] = (await lab.api.manifest("crane/blob", "v1")).body.layers ?? [];
    const read = await lab.run([
      "sh",
      "-c",
      `crane blob --insecure ${remote(`crane/blob@${layer?.digest}`)} | sha256sum`,
    ]);
    expect(`sha256:${read.stdout.split(" ")[0]}`).toBe(layer?.digest ?? "");
  });

  test("keeps Docker's media types", async () => {
    await lab.api.push(await busyboxImage(lab.path("docker")), "crane/docker");
    await crane(
      "append",
      "--new_layer",
      lab.path("layer.tar"),
      "--new_tag",
      remote("crane/docker:v2"),
    );
    expect((await lab.api.manifest("crane/docker", "v2")).mediaType).toBe(
      mediaTypes.dockerManifest,
    );
    await lab.api.verify("crane/docker", "v2");
  });
});
