import { expect, setDefaultTimeout, test } from "bun:test";
import { smallPages, useLab } from "./support/lab.ts";
import { sha256 } from "./support/layout.ts";
import { describeWith } from "./support/tools.ts";

setDefaultTimeout(60_000);

const chartLayer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const provenanceLayer = "application/vnd.cncf.helm.chart.provenance.v1.prov";

describeWith(["helm"], "helm", () => {
  const lab = useLab(smallPages);
  const helm = (...args: readonly string[]) => lab.run(["helm", ...args]);
  const chart = (name: string): string => `oci://${lab.host}/charts/${name}`;

  /** Packages a chart of one template and returns the path of the archive. */
  const pack = async (name: string, version: string, more = ""): Promise<string> => {
    const dir = lab.path(`${name}-source`);
    await Bun.write(
      `${dir}/Chart.yaml`,
      `apiVersion: v2\nname: ${name}\nversion: ${version}\n${more}`,
    );
    await Bun.write(
      `${dir}/templates/map.yaml`,
      "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: held-fast\n",
    );
    await helm("package", dir, "--destination", lab.path("packed"));
    return `${lab.path("packed")}/${name}-${version}.tgz`;
  };
  const push = (archive: string) =>
    helm("push", archive, `oci://${lab.host}/charts`, "--plain-http");

  test("pushes a chart and pulls the same bytes", async () => {
    const archive = await pack("app", "1.0.0");
    await push(archive);
    await lab.api.verify("charts/app", "1.0.0");
    const { body } = await lab.api.manifest("charts/app", "1.0.0");
    expect(body.config?.mediaType).toBe("application/vnd.cncf.helm.config.v1+json");
    const bytes = await Bun.file(archive).bytes();
    expect(body.layers?.map(({ mediaType, digest }) => ({ mediaType, digest }))).toEqual([
      { mediaType: chartLayer, digest: sha256(bytes) },
    ]);
    await helm(
      "pull",
      chart("app"),
      "--version",
      "1.0.0",
      "--plain-http",
      "--destination",
      lab.path("home"),
    );
    expect(await Bun.file(lab.path("home/app-1.0.0.tgz")).bytes()).toEqual(bytes);
  });

  test("finds the version that a range or nothing means among the tags", async () => {
    for (const version of ["1.0.0", "1.2.0", "1.10.0", "2.0.0"])
      await push(await pack("ranged", version));
    const shown = async (...args: readonly string[]): Promise<string> =>
      (await helm("show", "chart", chart("ranged"), "--plain-http", ...args)).stdout;
    expect(await shown("--version", "^1")).toContain("version: 1.10.0\n");
    expect(await shown("--version", "~1.2")).toContain("version: 1.2.0\n");
    expect(await shown()).toContain("version: 2.0.0\n");
    await lab.refused([
      "helm",
      "show",
      "chart",
      chart("ranged"),
      "--plain-http",
      "--version",
      "3.0.0",
    ]);
  });

  test("keeps a version with build metadata", async () => {
    await push(await pack("built", "1.0.0+build.5"));
    expect(await lab.api.tags("charts/built")).toEqual(["1.0.0_build.5"]);
    const shown = await helm(
      "show",
      "chart",
      chart("built"),
      "--plain-http",
      "--version",
      "1.0.0+build.5",
    );
    expect(shown.stdout).toContain("version: 1.0.0+build.5\n");
  });

  test("pushes provenance beside the chart", async () => {
    const archive = await pack("proven", "1.0.0");
    await Bun.write(`${archive}.prov`, "a signature that nobody checks here\n");
    await push(archive);
    const { body } = await lab.api.manifest("charts/proven", "1.0.0");
    // helm sorts layers by digest.
    const types = new Set(body.layers?.map((layer) => layer.mediaType));
    expect(types).toEqual(new Set([chartLayer, provenanceLayer]));
    await helm(
      "pull",
      chart("proven"),
      "--version",
      "1.0.0",
      "--prov",
      "--plain-http",
      "--destination",
      lab.path("home"),
    );
    expect(await Bun.file(lab.path("home/proven-1.0.0.tgz.prov")).text()).toContain("a signature");
  });

  test("renders a chart and fetches a dependency from the registry", async () => {
    await push(await pack("base", "1.4.0"));
    const dependency = `dependencies:\n  - { name: base, version: ^1.0.0, repository: "oci://${lab.host}/charts" }\n`;
    await Bun.write(
      lab.path("needy/Chart.yaml"),
      `apiVersion: v2\nname: needy\nversion: 1.0.0\n${dependency}`,
    );
    await helm("dependency", "update", lab.path("needy"), "--plain-http");
    expect(await Bun.file(lab.path("needy/charts/base-1.4.0.tgz")).exists()).toBe(true);
    const rendered = await helm(
      "template",
      "release",
      chart("base"),
      "--plain-http",
      "--version",
      "1.4.0",
    );
    expect(rendered.stdout).toContain("name: held-fast");
  });
});
