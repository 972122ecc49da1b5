import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { busyboxImage, multiArchImage, platforms, type Sample } from "./support/images.ts";
import { useLab } from "./support/lab.ts";
import { describeWith } from "./support/tools.ts";

setDefaultTimeout(60_000);

const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
const insecure = ["--allow-http-registry", "--allow-insecure-registry"];
/** Nothing may leave this machine: no transparency log, no signing configuration from the network. */
const offline = ["--yes", "--tlog-upload=false", "--use-signing-config=false"];
/** The format before bundles, with tags instead of referrers. */
const legacy = "--new-bundle-format=false";

describeWith(["cosign", "busybox"], "cosign", () => {
  const lab = useLab();
  const env = { COSIGN_PASSWORD: "held fast" };
  const cosign = async (...args: readonly string[]): Promise<string> =>
    (await lab.run(["cosign", ...args], { env })).stdout;
  const sign = (reference: string, key: string, ...args: readonly string[]) =>
    cosign("sign", ...insecure, ...offline, "--key", lab.path(`${key}.key`), ...args, reference);
  const verification = (command: string, key: string): readonly string[] => [
    command,
    ...insecure,
    "--insecure-ignore-tlog=true",
    "--key",
    lab.path(`${key}.pub`),
  ];
  const verify = async (
    reference: string,
    key: string,
    ...args: readonly string[]
  ): Promise<readonly unknown[]> =>
    JSON.parse(await cosign(...verification("verify", key), ...args, reference));

  /** Pushes an image and returns its reference by digest. */
  const publish = async (sample: Sample, repository: string): Promise<string> => {
    await lab.api.push(sample, repository);
    return `${lab.host}/${repository}@${sample.root.digest}`;
  };
  const types = async (repository: string, { root }: Sample) =>
    (await lab.api.referrers(repository, root.digest))?.map((referrer) => referrer.artifactType);

  beforeAll(async () => {
    for (const key of ["ours", "theirs"])
      await cosign("generate-key-pair", "--output-key-prefix", lab.path(key));
  }, 30_000);

  test("signs with a bundle, found as a referrer", async () => {
    const image = await busyboxImage(lab.path("bundle"));
    const reference = await publish(image, "cosign/bundle");
    await lab.refused(["cosign", ...verification("verify", "ours"), reference], { env });
    await sign(reference, "ours");
    expect((await verify(reference, "ours")).length).toBe(1);
    await lab.refused(["cosign", ...verification("verify", "theirs"), reference], { env });
    expect(await cosign("tree", ...insecure, reference)).toContain("artifacts via OCI referrer");
    expect(await types("cosign/bundle", image)).toEqual([bundle]);
    expect(await lab.api.tags("cosign/bundle")).toEqual(["v1"]);
  });

  test("attests with a bundle beside the signature", async () => {
    const image = await busyboxImage(lab.path("attest"));
    const reference = await publish(image, "cosign/attest");
    const type = "https://holdfast.example/predicate";
    await Bun.write(lab.path("predicate.json"), JSON.stringify({ builder: "holdfast tests" }));
    await sign(reference, "ours");
    await cosign(
      "attest",
      ...insecure,
      ...offline,
      "--key",
      lab.path("ours.key"),
      "--type",
      type,
      "--predicate",
      lab.path("predicate.json"),
      reference,
    );
    const verified = await cosign(
      ...verification("verify-attestation", "ours"),
      "--type",
      type,
      reference,
    );
    expect(Buffer.from(JSON.parse(verified).payload, "base64").toString()).toContain(
      "holdfast tests",
    );
    await lab.refused(
      ["cosign", ...verification("verify-attestation", "theirs"), "--type", type, reference],
      { env },
    );
    expect(await types("cosign/attest", image)).toEqual([bundle, bundle]);
  });

  test("loses no signature of four signers at once", async () => {
    const image = await busyboxImage(lab.path("parallel"));
    const reference = await publish(image, "cosign/parallel");
    await Promise.all(
      [1, 2, 3, 4].map((signer) => sign(reference, "ours", "-a", `signer=${signer}`)),
    );
    expect(await types("cosign/parallel", image)).toEqual([bundle, bundle, bundle, bundle]);
    expect((await verify(reference, "ours")).length).toBeGreaterThan(0);
  });

  test("signs an index and each of its images", async () => {
    const image = await multiArchImage(lab.path("multi"));
    const reference = await publish(image, "cosign/multi");
    await sign(reference, "ours", "--recursive");
    const children = (await lab.api.manifest("cosign/multi", "v1")).body.manifests ?? [];
    expect(children.length).toBe(platforms.length);
    for (const { digest } of [image.root, ...children]) {
      expect((await verify(`${lab.host}/cosign/multi@${digest}`, "ours")).length).toBe(1);
    }
  });

  test("signs, attests and cleans in the old format of tags", async () => {
    const image = await busyboxImage(lab.path("legacy"));
    const reference = await publish(image, "cosign/legacy");
    const tag = image.root.digest.replace(":", "-");
    await sign(reference, "ours", legacy);
    await sign(reference, "theirs", legacy);
    for (const key of ["ours", "theirs"])
      expect((await verify(reference, key, legacy)).length).toBe(1);
    await Bun.write(lab.path("old.json"), JSON.stringify({ builder: "holdfast tests" }));
    await cosign(
      "attest",
      ...insecure,
      ...offline,
      legacy,
      "--key",
      lab.path("ours.key"),
      "--predicate",
      lab.path("old.json"),
      reference,
    );
    await cosign(...verification("verify-attestation", "ours"), legacy, reference);
    expect([...(await lab.api.tags("cosign/legacy"))].sort()).toEqual([
      `${tag}.att`,
      `${tag}.sig`,
      "v1",
    ]);
    await cosign("clean", ...insecure, "--force", "--type", "signature", reference);
    expect(await lab.api.tags("cosign/legacy")).not.toContain(`${tag}.sig`);
    await lab.refused(["cosign", ...verification("verify", "ours"), legacy, reference], { env });
  });
});
