import { expect, setDefaultTimeout, test } from "bun:test";
import {
  busyboxImage,
  layeredImage,
  manyNames,
  multiArchImage,
  platforms,
} from "./support/images.ts";
import { mediaTypes } from "./support/layout.ts";
import { smallPages, useLab } from "./support/lab.ts";
import { describeWith, findTool } from "./support/tools.ts";
import { openWire } from "./support/wire.ts";

setDefaultTimeout(120_000);

describeWith(["podman", "busybox"], "podman", () => {
  const lab = useLab(smallPages);
  const podman = (...args: readonly string[]) =>
    lab.run(
      [
        "podman",
        "--root",
        lab.path("storage"),
        "--runroot",
        lab.path("runroot"),
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "none",
        ...args,
      ],
      { timeout: 100 },
    );
  const pull = (reference: string, ...args: readonly string[]) =>
    podman("pull", "--quiet", "--tls-verify=false", ...args, reference);
  const push = (reference: string, ...args: readonly string[]) =>
    podman("push", "--quiet", "--tls-verify=false", ...args, reference);
  /** Takes a sample from its layout into podman's storage under a name of this registry. */
  const load = async (
    sample: { layout: { dir: string }; tag: string },
    reference: string,
  ): Promise<void> => {
    const id = (
      await podman("pull", "--quiet", `oci:${sample.layout.dir}:${sample.tag}`)
    ).stdout.trim();
    await podman("tag", id, reference);
  };

  test("pushes an image and pulls it back by tag and by digest", async () => {
    const reference = `${lab.host}/podman/app:v1`;
    await load(await busyboxImage(lab.path("app")), reference);
    await push(reference, "--digestfile", lab.path("digest"));
    const digest = await lab.api.verify("podman/app", "v1");
    expect((await Bun.file(lab.path("digest")).text()).trim()).toBe(digest);

    const id = (await podman("image", "inspect", "--format", "{{.Id}}", reference)).stdout;
    await podman("rmi", "--all", "--force");
    await pull(reference);
    expect((await podman("image", "inspect", "--format", "{{.Id}}", reference)).stdout).toBe(id);
    await podman("rmi", "--all", "--force");
    await pull(`${lab.host}/podman/app@${digest}`);
    expect(
      (await podman("image", "inspect", "--format", "{{.Digest}}", id.trim())).stdout.trim(),
    ).toBe(digest);
  });

  test("runs what it pulled, where containers can be run at all", async () => {
    const output = async (image: string): Promise<string> => {
      // The limits that podman sets by itself need a right that containers and CI machines lack.
      const limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];
      const runtime = ["--runtime", findTool("runc") ?? "runc", "--network", "none"];
      return (await podman("run", "--rm", ...runtime, ...limits, image)).stdout;
    };
    const reference = `${lab.host}/podman/run:v1`;
    await load(await busyboxImage(lab.path("run-app")), reference);
    const before = await output(reference).catch((error: unknown) => {
      console.warn(`podman run does not work here: ${String(error)}`);
    });
    await push(reference);
    await podman("rmi", "--all", "--force");
    await pull(reference);
    if (before !== undefined) expect(await output(reference)).toBe("held fast\n");
  });

  test.each(["oci", "v2s2"])("pushes in the format %s", async (format) => {
    const reference = `${lab.host}/podman/${format}:v1`;
    await load(await busyboxImage(lab.path(format)), reference);
    await push(reference, "--format", format);
    await lab.api.verify(`podman/${format}`, "v1");
    const { mediaType } = await lab.api.manifest(`podman/${format}`, "v1");
    expect(mediaType).toBe(format === "oci" ? mediaTypes.manifest : mediaTypes.dockerManifest);
  });

  test("pushes again without an upload", async () => {
    await using wire = await openWire(lab.host);
    const reference = `${wire.host}/podman/again:v1`;
    await load(await busyboxImage(lab.path("again")), reference);
    await push(reference);
    expect(wire.requests.some((line) => line.startsWith("PATCH"))).toBe(true);
    const before = wire.requests.length;
    await push(reference);
    expect(wire.requests.slice(before).filter((line) => line.startsWith("PATCH"))).toEqual([]);
  });

  test("finds repositories and tags by search, over all pages", async () => {
    const sample = await layeredImage(lab.path("search"), 1);
    const names = manyNames(23).map((name) => `podman/search/${name}`);
    for (const name of names) await lab.api.push(sample, name);
    const search = (...args: readonly string[]) =>
      podman("search", "--tls-verify=false", "--limit", "100", ...args);
    const found = await search("--format", "{{.Name}}", `${lab.host}/podman/search`);
    expect(found.stdout.trim().split("\n").sort()).toEqual(
      names.map((name) => `${lab.host}/${name}`),
    );

    const [first = ""] = names;
    const tags = manyNames(12);
    await lab.api.tag(first, "v1", tags);
    const listed = await search("--list-tags", `${lab.host}/${first}`);
    for (const tag of [...tags, "v1"])
      expect(listed.stdout).toMatch(new RegExp(`${first} +${tag}\n`));
  });

  test("pulls one platform of an index, and pushes an index of its own", async () => {
    const sample = await multiArchImage(lab.path("multi"));
    await lab.api.push(sample, "podman/multi");
    for (const { architecture } of platforms) {
      const id = (await pull(`${lab.host}/podman/multi:v1`, "--arch", architecture)).stdout.trim();
      expect(
        (await podman("image", "inspect", "--format", "{{.Architecture}}", id)).stdout.trim(),
      ).toBe(architecture);
    }
    await podman("manifest", "create", "list", "--all", `oci:${sample.layout.dir}:${sample.tag}`);
    await podman(
      "manifest",
      "push",
      "--all",
      "--tls-verify=false",
      "list",
      `docker://${lab.host}/podman/list:v1`,
    );
    await lab.api.verify("podman/list", "v1");
    expect((await lab.api.manifest("podman/list", "v1")).body.manifests?.length).toBe(
      platforms.length,
    );
  });

  test("pulls 100 layers", async () => {
    await lab.api.push(await layeredImage(lab.path("layers"), 100), "podman/layers");
    await pull(`${lab.host}/podman/layers:v1`);
  });
});
