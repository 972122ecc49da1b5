import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { startDaemon } from "./support/daemon.ts";
import {
  bigImage,
  busyboxImage,
  layeredImage,
  multiArchImage,
  platforms,
} from "./support/images.ts";
import { useLab } from "./support/lab.ts";
import { mediaTypes } from "./support/layout.ts";
import { describeWith } from "./support/tools.ts";
import { openWire } from "./support/wire.ts";

setDefaultTimeout(120_000);

describeWith(["dockerd", "containerd", "docker", "busybox"], "docker", () => {
  const lab = useLab();

  const docker = async (...args: readonly string[]): Promise<string> => {
    const env = { DOCKER_BUILDKIT: "0", DOCKER_CLI_EXPERIMENTAL: "enabled" };
    return (
      await lab.run(["docker", "--host", `unix://${lab.path("run/d.sock")}`, ...args], {
        env,
        timeout: 100,
      })
    ).stdout;
  };
  /** Gives a new image, that docker pulled from the registry, another name there. */
  const load = async (repository: string): Promise<string> => {
    const source = `docker/source-${crypto.randomUUID()}`;
    await lab.api.push(await busyboxImage(lab.path(source)), source);
    const reference = `${lab.host}/${repository}:v1`;
    await docker("pull", "--quiet", `${lab.host}/${source}:v1`);
    await docker("tag", `${lab.host}/${source}:v1`, reference);
    return reference;
  };
  /** Builds an image that adds one file to another. */
  const build = async (from: string, reference: string): Promise<void> => {
    const context = lab.path(crypto.randomUUID());
    await Bun.write(`${context}/Dockerfile`, `FROM ${from}\nCOPY added /added\n`);
    await Bun.write(`${context}/added`, crypto.randomUUID());
    await docker("build", "--quiet", "--tag", reference, context);
  };

  beforeAll(async () => {
    const daemon = await startDaemon(
      [
        "dockerd",
        "--host",
        `unix://${lab.path("run/d.sock")}`,
        "--pidfile",
        lab.path("run/d.pid"),
        "--data-root",
        lab.path("data"),
        "--exec-root",
        lab.path("run/exec"),
        "--iptables=false",
        "--ip6tables=false",
        "--bridge=none",
        "--ip-forward=false",
        "--ip-masq=false",
      ],
      {
        env: lab.env,
        log: lab.path("dockerd.log"),
        ready: () =>
          docker("version").then(
            () => true,
            () => false,
          ),
      },
    );
    lab.defer(() => daemon.stop());
  }, 60_000);

  test("pushes Docker schema 2 and pulls it back by tag and by digest", async () => {
    const reference = `${lab.host}/docker/app:v1`;
    await build("scratch", reference);
    const said = await docker("push", reference);
    const digest = await lab.api.verify("docker/app", "v1");
    expect(said).toContain(digest);
    expect((await lab.api.manifest("docker/app", "v1")).mediaType).toBe(mediaTypes.dockerManifest);

    const id = await docker("image", "inspect", "--format", "{{.Id}}", reference);
    await docker("rmi", reference);
    await docker("pull", reference);
    expect(await docker("image", "inspect", "--format", "{{.Id}}", reference)).toBe(id);
    await docker("rmi", reference);
    expect(await docker("pull", `${lab.host}/docker/app@${digest}`)).toContain(digest);
    expect(await docker("image", "inspect", "--format", "{{.Id}}", id.trim())).toBe(id);
  });

  test("pulls an OCI image by the digest it was pushed with", async () => {
    const image = await busyboxImage(lab.path("oci"));
    await lab.api.push(image, "docker/oci");
    expect(await docker("pull", `${lab.host}/docker/oci:v1`)).toContain(image.root.digest);
    expect(await docker("pull", `${lab.host}/docker/oci@${image.root.digest}`)).toContain(
      "up to date",
    );
  });

  test("finds its layers there when it pushes again", async () => {
    const reference = `${lab.host}/docker/again:v1`;
    await build("scratch", reference);
    expect(await docker("push", reference)).toContain("Pushed");
    expect(await docker("push", reference)).toContain("Layer already exists");
  });

  test("mounts a base image's layers from its repository", async () => {
    const base = await load("docker/unused");
    const derived = `${lab.host}/docker/derived:v1`;
    await build(base, derived);
    expect(await docker("push", derived)).toContain("Mounted from docker/source-");
    await lab.api.verify("docker/derived", "v1");
    expect((await lab.api.manifest("docker/derived", "v1")).body.layers?.length).toBe(3);
  });

  test("pulls each platform of an index, and pushes a list of its own", async () => {
    await lab.api.push(await multiArchImage(lab.path("multi")), "docker/multi");
    const names: string[] = [];
    for (const { architecture } of platforms) {
      await docker(
        "pull",
        "--quiet",
        "--platform",
        `linux/${architecture}`,
        `${lab.host}/docker/multi:v1`,
      );
      const name = `${lab.host}/docker/list:${architecture}`;
      await docker("tag", `${lab.host}/docker/multi:v1`, name);
      expect((await docker("image", "inspect", "--format", "{{.Architecture}}", name)).trim()).toBe(
        architecture,
      );
      await docker("push", "--quiet", name);
      names.push(name);
    }
    await docker("manifest", "create", "--insecure", `${lab.host}/docker/list:all`, ...names);
    await docker("manifest", "push", "--insecure", `${lab.host}/docker/list:all`);
    await lab.api.verify("docker/list", "all");
    const list = await lab.api.manifest("docker/list", "all");
    expect(list.mediaType).toBe(mediaTypes.dockerList);
    expect(list.body.manifests?.map((child) => child.platform?.architecture)).toEqual(
      platforms.map(({ architecture }) => architecture),
    );
  });

  test("pulls and pushes 100 layers", async () => {
    await lab.api.push(await layeredImage(lab.path("layers"), 100), "docker/layers");
    await docker("pull", "--quiet", `${lab.host}/docker/layers:v1`);
    await docker("tag", `${lab.host}/docker/layers:v1`, `${lab.host}/docker/layers-too:v1`);
    await docker("push", "--quiet", `${lab.host}/docker/layers-too:v1`);
    await lab.api.verify("docker/layers-too", "v1");
    expect((await lab.api.manifest("docker/layers-too", "v1")).body.layers?.length).toBe(100);
  });

  test("resumes a pull that was cut in the middle of a layer", async () => {
    const image = await bigImage(lab.path("cut"), 32 * 2 ** 20);
    await lab.api.push(image, "docker/cut");
    await using wire = await openWire(lab.host, { cutAfter: 8 * 2 ** 20, cuts: 1 });
    expect(await docker("pull", `${wire.host}/docker/cut:v1`)).toContain(image.root.digest);
    expect(wire.cuts).toBe(1);
    expect(wire.requests.filter((line) => / bytes=[1-9]\d*-/.test(line)).length).toBeGreaterThan(0);
  });
});
