import { expect, setDefaultTimeout, test } from "bun:test";
import {
  bigImage,
  busyboxImage,
  layeredImage,
  manyNames,
  multiArchImage,
  platforms,
} from "./support/images.ts";
import { mediaTypes } from "./support/layout.ts";
import { smallPages, useLab } from "./support/lab.ts";
import { describeWith } from "./support/tools.ts";
import { openWire } from "./support/wire.ts";

setDefaultTimeout(120_000);

const oci = (sample: { layout: { dir: string }; tag: string }): string =>
  `oci:${sample.layout.dir}:${sample.tag}`;

describeWith(["skopeo", "busybox"], "skopeo", () => {
  const lab = useLab(smallPages);
  const remote = (reference: string, host = lab.host): string => `docker://${host}/${reference}`;
  const copy = (...args: readonly string[]) =>
    lab.run(["skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", ...args], {
      timeout: 100,
    });
  const skopeo = (command: string, ...args: readonly string[]) =>
    lab.run(["skopeo", command, "--tls-verify=false", ...args]);

  test("push and pull keep every byte of an OCI image", async () => {
    const image = await busyboxImage(lab.path("oci"));
    await copy(oci(image), remote("skopeo/oci:v1"));
    expect(await lab.api.verify("skopeo/oci", "v1")).toBe(image.root.digest);
    const raw = await skopeo("inspect", "--raw", remote("skopeo/oci:v1"));
    expect(raw.stdout).toBe(await Bun.file(image.layout.blobPath(image.root.digest)).text());

    await copy(remote(`skopeo/oci@${image.root.digest}`), `dir:${lab.path("pulled")}`);
    const pulled = await Bun.file(lab.path("pulled/manifest.json")).bytes();
    expect(pulled).toEqual(await Bun.file(image.layout.blobPath(image.root.digest)).bytes());
  });

  test("converts to Docker schema 2 while pushing", async () => {
    const image = await busyboxImage(lab.path("schema2"));
    await copy("--format", "v2s2", oci(image), remote("skopeo/schema2:v1"));
    await lab.api.verify("skopeo/schema2", "v1");
    expect((await lab.api.manifest("skopeo/schema2", "v1")).mediaType).toBe(
      mediaTypes.dockerManifest,
    );
    await copy(remote("skopeo/schema2:v1"), `oci:${lab.path("schema2-back")}:v1`);
  });

  test("copies an index with every platform", async () => {
    const image = await multiArchImage(lab.path("multi"));
    await copy("--all", oci(image), remote("skopeo/multi:v1"));
    expect(await lab.api.verify("skopeo/multi", "v1")).toBe(image.root.digest);
    for (const { architecture } of platforms) {
      const seen = await lab.run([
        "skopeo",
        "--override-arch",
        architecture,
        "inspect",
        "--tls-verify=false",
        "--format",
        "{{.Architecture}}",
        remote("skopeo/multi:v1"),
      ]);
      expect(seen.stdout.trim()).toBe(architecture);
    }
  });

  test("pushes and pulls 100 layers", async () => {
    const image = await layeredImage(lab.path("layers"), 100);
    await copy(oci(image), remote("skopeo/layers:v1"));
    expect(await lab.api.verify("skopeo/layers", "v1")).toBe(image.root.digest);
    await copy(remote("skopeo/layers:v1"), `dir:${lab.path("layers-back")}`);
  });

  test("pushes and pulls a 1 GiB layer", async () => {
    const image = await bigImage(lab.path("big"), 2 ** 30);
    await copy(oci(image), remote("skopeo/big:v1"));
    await copy(remote("skopeo/big:v1"), `oci:${lab.path("big-back")}:v1`);
    const [layer] = (await lab.api.manifest("skopeo/big", "v1")).body.layers ?? [];
    expect(layer?.size).toBeGreaterThan(2 ** 30);
    expect(
      await Bun.file(`${lab.path("big-back")}/blobs/${layer?.digest.replace(":", "/")}`).exists(),
    ).toBe(true);
    await lab.run(["rm", "-rf", lab.path("big"), lab.path("big-back")]);
  });

  test("copies between repositories by mounting the layers", async () => {
    const image = await busyboxImage(lab.path("mount"));
    await using wire = await openWire(lab.host);
    await copy(oci(image), remote("skopeo/from:v1", wire.host));
    const before = wire.requests.length;
    await copy(remote("skopeo/from:v1", wire.host), remote("skopeo/to:v1", wire.host));
    const requests = wire.requests.slice(before);
    expect(
      requests.filter((line) => line.startsWith("POST") && line.includes("mount=")).length,
    ).toBe(2);
    // The config, which skopeo never mounts.
    expect(requests.filter((line) => line.startsWith("PATCH")).length).toBeLessThanOrEqual(1);
    expect(await lab.api.verify("skopeo/to", "v1")).toBe(image.root.digest);
  });

  test("lists tags and deletes images", async () => {
    const [first, second] = [
      await busyboxImage(lab.path("one")),
      await busyboxImage(lab.path("two")),
    ];
    await copy(oci(first), remote("skopeo/tags:one"));
    await copy(oci(second), remote("skopeo/tags:two"));
    const listed = async (): Promise<unknown> =>
      JSON.parse((await skopeo("list-tags", remote("skopeo/tags"))).stdout).Tags;
    expect(await listed()).toEqual(["one", "two"]);
    await skopeo("delete", remote("skopeo/tags:one"));
    expect(await listed()).toEqual(["two"]);
    expect(await lab.api.manifestStatus("skopeo/tags", first.root.digest)).toBe(404);
    await skopeo("delete", remote(`skopeo/tags@${second.root.digest}`));
    expect(await lab.api.manifestStatus("skopeo/tags", "two")).toBe(404);
    await lab.refused(["skopeo", "inspect", "--tls-verify=false", remote("skopeo/tags:two")]);
  });

  test("lists the tags of all pages", async () => {
    await lab.api.push(await layeredImage(lab.path("paged"), 1), "skopeo/paged");
    const names = manyNames(23);
    await lab.api.tag("skopeo/paged", "v1", names);
    const listed = await skopeo("list-tags", remote("skopeo/paged"));
    expect(JSON.parse(listed.stdout).Tags).toEqual([...names, "v1"]);
  });

  test("syncs a repository to a folder and to another place", async () => {
    const image = await busyboxImage(lab.path("sync"));
    for (const tag of ["1.0", "1.1", "latest"])
      await copy(oci(image), remote(`skopeo/sync:${tag}`));
    const sync = (...args: readonly string[]) =>
      lab.run(["skopeo", "sync", "--src-tls-verify=false", "--dest-tls-verify=false", ...args]);
    await sync("--src", "docker", "--dest", "dir", `${lab.host}/skopeo/sync`, lab.path("synced"));
    expect(await Bun.file(`${lab.path("synced")}/sync:1.1/manifest.json`).exists()).toBe(true);
    await sync(
      "--src",
      "docker",
      "--dest",
      "docker",
      `${lab.host}/skopeo/sync`,
      `${lab.host}/mirror`,
    );
    expect(await lab.api.tags("mirror/sync")).toEqual(["1.0", "1.1", "latest"]);
    expect(await lab.api.verify("mirror/sync", "1.0")).toBe(image.root.digest);
  });
});
