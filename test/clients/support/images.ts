import { randomFillSync } from "node:crypto";
import { type Descriptor, Layout, type Platform } from "./layout.ts";
import { tarEnd, tarHeader, tarPadding } from "./tar.ts";
import { findTool } from "./tools.ts";

/** One image or index in a layout of its own, tagged `tag`. */
export interface Sample {
  readonly layout: Layout;
  readonly tag: string;
  readonly root: Descriptor;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

const random = (size: number): Uint8Array => randomFillSync(new Uint8Array(size));

const sample = async (layout: Layout, root: Descriptor): Promise<Sample> => {
  const tag = "v1";
  await layout.tag(root, tag);
  return { layout, tag, root };
};

/** Two layers: busybox, which can be run, and a random file, so that no two calls make the same image. */
export async function busyboxImage(dir: string): Promise<Sample> {
  const busybox = findTool("busybox");
  if (busybox === undefined) throw new Error("needs busybox: run scripts/setup.sh");
  const layout = await Layout.create(dir);
  const layers = [
    await layout.layer([
      { path: "bin/busybox", bytes: await Bun.file(busybox).bytes(), mode: 0o755 },
    ]),
    await layout.layer([{ path: "etc/unique", bytes: random(4096) }]),
  ];
  return sample(layout, await layout.image(layers));
}

/** An image of `count` small layers, each with a file of its own. */
export async function layeredImage(dir: string, count: number): Promise<Sample> {
  const layout = await Layout.create(dir);
  const layers = [];
  for (let n = 0; n < count; n += 1) {
    layers.push(await layout.layer([{ path: `layers/${n}`, bytes: random(256) }]));
  }
  return sample(layout, await layout.image(layers));
}

export const platforms: readonly Platform[] = [
  { os: "linux", architecture: "amd64" },
  { os: "linux", architecture: "arm64", variant: "v8" },
  { os: "linux", architecture: "s390x" },
];

/** An index of one image for each of `platforms`, which share a layer. */
export async function multiArchImage(dir: string): Promise<Sample> {
  const layout = await Layout.create(dir);
  const shared = await layout.layer([{ path: "etc/shared", bytes: random(1024) }]);
  const images = [];
  for (const platform of platforms) {
    const own = await layout.layer([{ path: "etc/arch", bytes: text(platform.architecture) }]);
    images.push(await layout.image([shared, own], platform));
  }
  return sample(layout, await layout.index(images));
}

/** An image of one layer with `size` random bytes, written as a stream. */
export async function bigImage(dir: string, size: number): Promise<Sample> {
  const layout = await Layout.create(dir);
  const layer = await layout.streamedLayer(function* archive() {
    yield tarHeader("big", size);
    for (let left = size; left > 0; left -= 2 ** 20) yield random(Math.min(left, 2 ** 20));
    yield tarPadding(size);
    yield tarEnd;
  });
  return sample(layout, await layout.image([layer]));
}

/** `count` names in order, to make listings long. */
export const manyNames = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, n) => `n${n.toString().padStart(3, "0")}`);
