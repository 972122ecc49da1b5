import { expect, setDefaultTimeout, test } from "bun:test";
import { bigImage, busyboxImage, multiArchImage } from "./support/images.ts";
import { smallPages, useLab } from "./support/lab.ts";
import { sha256 } from "./support/layout.ts";
import { describeWith } from "./support/tools.ts";
import { openWire } from "./support/wire.ts";

setDefaultTimeout(60_000);

describeWith(["oras", "busybox"], "oras", () => {
  const lab = useLab(smallPages);
  const oras = async (...args: readonly string[]): Promise<string> =>
    (await lab.run(["oras", ...args])).stdout.trim();
  const remote = (reference: string): string => `${lab.host}/${reference}`;
  const plain = "--plain-http";
  const http = ["--from-plain-http", "--to-plain-http"] as const;

  test("pushes files as an artifact with several tags and pulls them", async () => {
    const notes = crypto.randomUUID();
    await Bun.write(lab.path("notes.txt"), notes);
    await Bun.write(lab.path("data.json"), JSON.stringify({ notes }));
    await oras(
      "push",
      plain,
      remote("oras/files:v1,latest"),
      "--artifact-type",
      "application/vnd.holdfast.files",
      "--annotation",
      "held=fast",
      "notes.txt:text/plain",
      "data.json:application/json",
    );
    const digest = await lab.api.verify("oras/files", "v1");
    expect(await lab.api.verify("oras/files", "latest")).toBe(digest);
    const { body } = await lab.api.manifest("oras/files", "v1");
    expect(body.artifactType).toBe("application/vnd.holdfast.files");
    expect(body.layers?.map((layer) => layer.mediaType)).toEqual([
      "text/plain",
      "application/json",
    ]);
    await oras("pull", plain, remote(`oras/files@${digest}`), "--output", lab.path("pulled"));
    expect(await Bun.file(lab.path("pulled/notes.txt")).text()).toBe(notes);
  });

  test("attaches artifacts, discovers them and copies them along", async () => {
    const image = await busyboxImage(lab.path("subject"));
    await lab.api.push(image, "oras/subject");
    const signature = "application/vnd.holdfast.signature";
    await Bun.write(lab.path("signature"), "signed");
    await oras(
      "attach",
      plain,
      "--artifact-type",
      signature,
      remote("oras/subject:v1"),
      "signature:text/plain",
    );
    await oras(
      "attach",
      plain,
      "--artifact-type",
      "application/vnd.holdfast.other",
      remote("oras/subject:v1"),
      "-a",
      "a=b",
    );
    const discovered = async (
      repository: string,
      ...args: readonly string[]
    ): Promise<readonly { digest: string }[]> =>
      JSON.parse(
        await oras("discover", plain, "--format", "json", remote(`${repository}:v1`), ...args),
      ).manifests;
    expect((await discovered("oras/subject")).length).toBe(2);
    const [found] = await discovered("oras/subject", "--artifact-type", signature);
    await oras(
      "pull",
      plain,
      remote(`oras/subject@${found?.digest}`),
      "--output",
      lab.path("found"),
    );
    expect(await Bun.file(lab.path("found/signature")).text()).toBe("signed");
    expect(await lab.api.tags("oras/subject")).toEqual(["v1"]);

    await oras("copy", "--recursive", ...http, remote("oras/subject:v1"), remote("oras/along:v1"));
    expect((await discovered("oras/along")).length).toBe(2);
    expect((await lab.api.referrers("oras/along", image.root.digest))?.length).toBe(2);
    await oras("manifest", "delete", plain, "--force", remote(`oras/along@${found?.digest}`));
    expect((await discovered("oras/along")).length).toBe(1);
  });

  test("discovers referrers over all pages", async () => {
    await lab.api.push(await busyboxImage(lab.path("many")), "oras/many");
    const annotation = `text=${"x".repeat(3900)}`;
    for (let n = 0; n < 20; n += 1) {
      const type = ["--artifact-type", `application/vnd.holdfast.n${n}`];
      await oras("attach", plain, ...type, remote("oras/many:v1"), "--annotation", annotation);
    }
    await using wire = await openWire(lab.host);
    const found = JSON.parse(
      await oras("discover", plain, "--format", "json", `${wire.host}/oras/many:v1`),
    );
    expect(found.manifests.length).toBe(20);
    const pages = wire.requests.filter((line) =>
      /GET .*referrers\/sha256:[0-9a-f]*[1-9a-f]/.test(line),
    );
    expect(pages.length).toBeGreaterThan(1);
  });

  test("copies a layout in and an index between repositories by mounting", async () => {
    const image = await multiArchImage(lab.path("multi"));
    await oras(
      "copy",
      "--from-oci-layout",
      "--to-plain-http",
      `${image.layout.dir}:v1`,
      remote("oras/multi:v1"),
    );
    expect(await lab.api.verify("oras/multi", "v1")).toBe(image.root.digest);
    await using wire = await openWire(lab.host);
    await oras("copy", ...http, `${wire.host}/oras/multi:v1`, `${wire.host}/oras/multi-copy:v1`);
    expect(await lab.api.verify("oras/multi-copy", "v1")).toBe(image.root.digest);
    expect(
      wire.requests.filter((line) => line.startsWith("POST") && line.includes("mount=")).length,
    ).toBeGreaterThan(0);
    expect(wire.requests.filter((line) => /^PUT .*blobs/.test(line))).toEqual([]);
    const platform = ["--platform", "linux/arm64"];
    expect(
      JSON.parse(
        await oras("manifest", "fetch-config", plain, ...platform, remote("oras/multi:v1")),
      ).architecture,
    ).toBe("arm64");
  });

  test("pushes a 1 GiB layer in one PUT and pulls it", async () => {
    const image = await bigImage(lab.path("big"), 2 ** 30);
    const [from, to] = [`${image.layout.dir}:v1`, `${lab.path("big-back")}:v1`];
    await oras("copy", "--from-oci-layout", "--to-plain-http", from, remote("oras/big:v1"));
    await oras("copy", "--from-plain-http", "--to-oci-layout", remote("oras/big:v1"), to);
    const [layer] = (await lab.api.manifest("oras/big", "v1")).body.layers ?? [];
    const back = Bun.file(`${lab.path("big-back")}/blobs/${layer?.digest.replace(":", "/")}`);
    expect(back.size).toBe(layer?.size ?? 0);
    await lab.run(["rm", "-rf", lab.path("big"), lab.path("big-back")]);
  });

  test("lists, tags, resolves and deletes", async () => {
    const image = await busyboxImage(lab.path("list"));
    await lab.api.push(image, "oras/list");
    await oras("tag", plain, remote("oras/list:v1"), "v2", "v3");
    expect((await oras("repo", "tags", plain, remote("oras/list"))).split("\n")).toEqual([
      "v1",
      "v2",
      "v3",
    ]);
    expect((await oras("repo", "ls", plain, lab.host)).split("\n")).toContain("oras/list");
    expect((await oras("repo", "ls", plain, remote("oras/"))).split("\n")).toContain("list");
    expect(await oras("resolve", plain, remote("oras/list:v3"))).toBe(image.root.digest);
    await oras("manifest", "delete", plain, "--force", remote(`oras/list@${image.root.digest}`));
    expect(await lab.api.tags("oras/list")).toEqual([]);
    await lab.refused(["oras", "resolve", plain, remote("oras/list:v2")]);
  });

  test("pushes, fetches and deletes a blob", async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(3 * 2 ** 16));
    const digest = sha256(bytes);
    await Bun.write(lab.path("blob"), bytes);
    await oras("blob", "push", plain, remote("oras/blob"), "blob");
    await oras(
      "blob",
      "fetch",
      plain,
      "--output",
      lab.path("blob-back"),
      remote(`oras/blob@${digest}`),
    );
    expect(sha256(await Bun.file(lab.path("blob-back")).bytes())).toBe(digest);
    await oras("blob", "delete", plain, "--force", remote(`oras/blob@${digest}`));
    expect(await lab.api.blobStatus("oras/blob", digest)).toBe(404);
    await lab.refused([
      "oras",
      "blob",
      "fetch",
      plain,
      "--output",
      lab.path("gone"),
      remote(`oras/blob@${digest}`),
    ]);
  });
});
