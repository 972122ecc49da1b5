import { expect, setDefaultTimeout, test } from "bun:test";
import { mediaTypes } from "./support/layout.ts";
import { busyboxImage, multiArchImage, platforms } from "./support/images.ts";
import { useLab } from "./support/lab.ts";
import { describeWith } from "./support/tools.ts";
import { openWire } from "./support/wire.ts";

setDefaultTimeout(120_000);

describeWith(["buildah", "busybox"], "buildah", () => {
  const lab = useLab();
  const buildah = (...args: readonly string[]) =>
    lab.run([
      "buildah",
      "--root",
      lab.path("storage"),
      "--runroot",
      lab.path("runroot"),
      "--storage-driver",
      "vfs",
      ...args,
    ]);
  const push = (image: string, destination: string, ...args: readonly string[]) =>
    buildah("push", "--quiet", "--tls-verify=false", ...args, image, `docker://${destination}`);

  /** Builds from a Dockerfile that only copies, so nothing has to be run. */
  const build = async (name: string, from: string): Promise<void> => {
    await Bun.write(
      lab.path(`${name}/Dockerfile`),
      `FROM ${from}\nCOPY hello /${name}\nCMD ["/bin/busybox"]\n`,
    );
    await Bun.write(lab.path(`${name}/hello`), crypto.randomUUID());
    await buildah(
      "bud",
      "--quiet",
      "--isolation",
      "chroot",
      "--tls-verify=false",
      "-t",
      name,
      lab.path(name),
    );
  };

  test.each(["oci", "docker"])("builds from scratch and pushes as %s", async (format) => {
    await build(`scratch-${format}`, "scratch");
    const digestFile = lab.path(`${format}.digest`);
    await push(
      `scratch-${format}`,
      `${lab.host}/buildah/${format}:v1`,
      "--format",
      format,
      "--digestfile",
      digestFile,
    );
    const digest = await lab.api.verify(`buildah/${format}`, "v1");
    expect((await Bun.file(digestFile).text()).trim()).toBe(digest);
    const { mediaType } = await lab.api.manifest(`buildah/${format}`, "v1");
    expect(mediaType).toBe(format === "oci" ? mediaTypes.manifest : mediaTypes.dockerManifest);
  });

  test("builds on a base from the registry and mounts its layers", async () => {
    await using wire = await openWire(lab.host);
    const base = await busyboxImage(lab.path("base"));
    await lab.api.push(base, "buildah/base");
    await build("derived", `${wire.host}/buildah/base:v1`);
    await push("derived", `${wire.host}/buildah/derived:v1`);
    await lab.api.verify("buildah/derived", "v1");
    const mounts = wire.requests.filter(
      (line) => line.startsWith("POST") && line.includes("mount="),
    );
    expect(mounts.length).toBeGreaterThan(0);
    const layers = (await lab.api.manifest("buildah/derived", "v1")).body.layers ?? [];
    const inherited = (await lab.api.manifest("buildah/base", "v1")).body.layers ?? [];
    expect(layers.slice(0, inherited.length)).toEqual([...inherited]);
  });

  test("commits a working container straight to the registry and pulls it", async () => {
    const container = (await buildah("from", "scratch")).stdout.trim();
    await Bun.write(lab.path("note"), "straight");
    await buildah("copy", container, lab.path("note"), "/note");
    await buildah(
      "commit",
      "--quiet",
      "--tls-verify=false",
      container,
      `docker://${lab.host}/buildah/commit:v1`,
    );
    await buildah("rm", container);
    await lab.api.verify("buildah/commit", "v1");
    const id = (
      await buildah("pull", "--quiet", "--tls-verify=false", `${lab.host}/buildah/commit:v1`)
    ).stdout.trim();
    const pulled = (await buildah("from", id)).stdout.trim();
    const mounted = (await buildah("mount", pulled)).stdout.trim();
    expect(await Bun.file(`${mounted}/note`).text()).toBe("straight");
    await buildah("rm", pulled);
  });

  test("pushes a manifest list", async () => {
    const sample = await multiArchImage(lab.path("multi"));
    await buildah("manifest", "create", "list");
    await buildah("manifest", "add", "--all", "list", `oci:${sample.layout.dir}:${sample.tag}`);
    await buildah(
      "manifest",
      "push",
      "--all",
      "--tls-verify=false",
      "list",
      `docker://${lab.host}/buildah/list:v1`,
    );
    await lab.api.verify("buildah/list", "v1");
    expect((await lab.api.manifest("buildah/list", "v1")).body.manifests?.length).toBe(
      platforms.length,
    );
  });
});
