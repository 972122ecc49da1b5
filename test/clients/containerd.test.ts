import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { startDaemon } from "./support/daemon.ts";
import {
  bigImage,
  busyboxImage,
  layeredImage,
  multiArchImage,
  type Sample,
} from "./support/images.ts";
import { useLab } from "./support/lab.ts";
import { describeWith } from "./support/tools.ts";
import { openWire } from "./support/wire.ts";

setDefaultTimeout(120_000);

describeWith(["containerd", "ctr", "busybox"], "containerd", () => {
  const lab = useLab();

  const ctr = (...args: readonly string[]) =>
    lab.run(["ctr", "--address", lab.path("run/c.sock"), "--namespace", "holdfast", ...args], {
      timeout: 100,
    });
  const pull = (reference: string, ...args: readonly string[]) =>
    ctr("images", "pull", "--plain-http", "--snapshotter", "native", ...args, reference);
  const push = (reference: string) => ctr("images", "push", "--plain-http", reference);
  /** The digest that containerd keeps for an image's name. */
  const digestOf = async (reference: string): Promise<string> => {
    const listed = await ctr("images", "list", `name==${reference}`);
    return /sha256:[0-9a-f]{64}/.exec(listed.stdout)?.[0] ?? listed.stdout;
  };
  const load = async ({ layout }: Sample, repository: string): Promise<void> => {
    await lab.run(["tar", "-cf", lab.path("load.tar"), "-C", layout.dir, "."]);
    const name = `${lab.host}/${repository}`;
    await ctr(
      "images",
      "import",
      "--no-unpack",
      "--all-platforms",
      "--base-name",
      name,
      lab.path("load.tar"),
    );
  };

  beforeAll(async () => {
    const config = [
      "version = 2",
      `root = "${lab.path("root")}"`,
      `state = "${lab.path("run/state")}"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      `[grpc]\n  address = "${lab.path("run/c.sock")}"`,
    ];
    await Bun.write(lab.path("config.toml"), config.join("\n"));
    const daemon = await startDaemon(["containerd", "--config", lab.path("config.toml")], {
      env: lab.env,
      log: lab.path("containerd.log"),
      ready: () =>
        ctr("version").then(
          () => true,
          () => false,
        ),
    });
    lab.defer(() => daemon.stop());
  }, 60_000);

  test("pushes an image and pulls it back by tag and by digest", async () => {
    const image = await busyboxImage(lab.path("app"));
    await load(image, "containerd/app");
    const reference = `${lab.host}/containerd/app:v1`;
    await push(reference);
    expect(await lab.api.verify("containerd/app", "v1")).toBe(image.root.digest);
    await ctr("images", "rm", "--sync", reference);
    await pull(reference);
    expect(await digestOf(reference)).toBe(image.root.digest);
    await ctr("images", "rm", "--sync", reference);
    const pinned = `${lab.host}/containerd/app@${image.root.digest}`;
    await pull(pinned);
    expect(await digestOf(pinned)).toBe(image.root.digest);
  });

  test("asks before it uploads, and does not upload twice", async () => {
    await load(await busyboxImage(lab.path("twice")), "containerd/twice");
    await using wire = await openWire(lab.host);
    const reference = `${wire.host}/containerd/twice:v1`;
    await ctr("images", "tag", `${lab.host}/containerd/twice:v1`, reference);
    await push(reference);
    expect(
      wire.requests.filter((line) => line.startsWith("PUT") && line.includes("/blobs/")).length,
    ).toBeGreaterThan(0);
    const before = wire.requests.length;
    await push(reference);
    const again = wire.requests.slice(before);
    expect(again.length).toBeGreaterThan(0);
    expect(again.filter((line) => !line.startsWith("HEAD"))).toEqual([]);
  });

  test("pushes and pulls an index with every platform", async () => {
    const image = await multiArchImage(lab.path("multi"));
    await load(image, "containerd/multi");
    const reference = `${lab.host}/containerd/multi:v1`;
    await push(reference);
    expect(await lab.api.verify("containerd/multi", "v1")).toBe(image.root.digest);
    await ctr("images", "rm", "--sync", reference);
    await pull(reference, "--all-platforms");
    expect(await digestOf(reference)).toBe(image.root.digest);
  });

  test("pushes and pulls 100 layers", async () => {
    const image = await layeredImage(lab.path("layers"), 100);
    await load(image, "containerd/layers");
    const reference = `${lab.host}/containerd/layers:v1`;
    await push(reference);
    expect(await lab.api.verify("containerd/layers", "v1")).toBe(image.root.digest);
    await ctr("images", "rm", "--sync", reference);
    await pull(reference);
  });

  test("resumes a pull that was cut in the middle of a layer", async () => {
    await lab.api.push(await bigImage(lab.path("cut"), 32 * 2 ** 20), "containerd/cut");
    await using wire = await openWire(lab.host, { cutAfter: 8 * 2 ** 20, cuts: 1 });
    const reference = `${wire.host}/containerd/cut:v1`;
    // containerd may take up the layer within the pull, or with the next one.
    await pull(reference).catch(() => pull(reference));
    expect(wire.cuts).toBe(1);
    expect(wire.requests.filter((line) => / bytes=[1-9]\d*-/.test(line)).length).toBeGreaterThan(0);
  });
});
