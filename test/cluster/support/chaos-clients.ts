/** Clients of all kinds at random nodes, and the model that their answers are compared with. */
import { imageManifest, sha256 } from "../../support/push.ts";
import type { Random } from "../../support/random.ts";
import { decode, pull, type Puller } from "./chaos-http.ts";
import { type Bytes, contentOf, Item, newBytes } from "./chaos-items.ts";
import { deleteItem, historyOf, pushItem, readItem } from "./chaos-push.ts";

const MIB = 2 ** 20;
const SIZES = [10, 300, 3000, 3000, 20_000, 60_000, 70_000, 300_000, MIB, 3 * MIB];
const SMALL = [10, 300, 3000, 3000, 20_000];
/** Beyond it only small ones are pushed: the disks are small. */
const PUSHED_MAX = 350 * MIB;
const REPOSITORIES = ["chaos/a", "chaos/b", "chaos/c"];
/** Layers that many images share. */
const SHARED = [500, 40_000, 100_000, MIB].map((size, at) => newBytes(1000 + at, size));
const CONFIG = newBytes(1, 400);
const PAUSE_MS = 60;

export class Clients {
  readonly items: Item[] = [];
  readonly #puller: (random: Random) => Puller;
  #seed = 10_000;
  #pushed = 0;
  #isRunning = true;
  readonly #all: Promise<unknown>;

  /** `randomOf` gives each client its own chance, so that one does not depend on how fast another is. */
  constructor(puller: (random: Random) => Puller, randomFor: (client: number) => Random) {
    this.#puller = puller;
    const works = [
      ...Array.from({ length: 4 }, () => (client: Puller) => this.#push(client)),
      ...Array.from({ length: 2 }, () => (client: Puller) => this.#change(client)),
      ...Array.from({ length: 6 }, () => (client: Puller) => this.#read(client)),
      (client: Puller) => this.#list(client),
    ];
    this.#all = Promise.all(works.map((work, at) => this.#repeat(work, randomFor(at))));
    // Told by stop().
    this.#all.catch(() => {});
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#all;
  }

  async #repeat(work: (client: Puller) => Promise<void>, random: Random): Promise<void> {
    const client = this.#puller(random);
    while (this.#isRunning) {
      await work(client);
      await Bun.sleep(random.int(PAUSE_MS));
    }
  }

  async #push(client: Puller): Promise<void> {
    const { random, record } = client;
    const isBlob = random.chance(0.2);
    const item = isBlob ? this.#newBlob(random) : this.#newImage(random);
    item.isBusy = true;
    this.items.push(item);
    record.count(isBlob ? "push blob" : "push image");
    await item.change("push", () => pushItem(client, item));
  }

  /** Deletes what is there, and pushes again what is not. */
  async #change(client: Puller): Promise<void> {
    const { random, record } = client;
    const free = this.items.filter(
      ({ isBusy, state, mayBeDeleted, mayBePushed }) =>
        !isBusy && (state === "gone" ? mayBePushed : mayBeDeleted),
    );
    if (free.length < 10) return;
    const item = random.chance(0.5) ? random.pick(free.slice(-20)) : random.pick(free);
    if (item.state === "gone" && random.chance(0.8)) {
      record.count("push again");
      await item.change("push", () => pushItem(client, item));
    } else if (item.mayBeDeleted) {
      record.count("delete");
      await item.change("delete", () => deleteItem(client, item));
    }
    await Bun.sleep(random.int(8 * PAUSE_MS));
  }

  async #read(client: Puller): Promise<void> {
    const { random, record } = client;
    if (this.items.length === 0) return;
    const item = random.chance(0.5) ? random.pick(this.items.slice(-30)) : random.pick(this.items);
    const how = item.plan.image === undefined ? 0 : random.int(3);
    record.count(["pull", "pull blob", "pull range"][how] ?? "");
    if (how === 0) await readItem(client, item);
    else await readBlob(client, item, random.pick(item.plan.blobs), how === 2);
  }

  /** Tags of one repository, in pages. */
  async #list(client: Puller): Promise<void> {
    const { random, record } = client;
    const repository = random.pick(REPOSITORIES);
    const looked = this.items
      .filter(({ plan }) => plan.repository === repository && plan.image !== undefined)
      .map((item) => ({ item, certain: item.watch() }));
    const shown = new Set<string>();
    let path: string | undefined = `/v2/${repository}/tags/list?n=${5 + random.int(200)}`;
    const pages: string[] = [];
    record.count("tag list");
    while (path !== undefined) {
      const answer = await pull(client, path, () => (shown.size > 0 ? "there" : "unsure"));
      if (answer === undefined || answer.isStale) return;
      if (answer.status === 404 && this.items.length < 50) return;
      if (answer.status !== 200)
        return record.fail(`${path} answered ${answer.status}: ${decode(answer.bytes)}`);
      const { tags } = JSON.parse(new TextDecoder().decode(answer.bytes)) as { tags: string[] };
      for (const tag of tags) shown.add(tag);
      pages.push(`${answer.node} ${record.at(answer.start)}`);
      path = /^<([^>]+)>/.exec(answer.headers.get("link") ?? "")?.[1];
    }
    for (const { item, certain } of looked) {
      const state = certain();
      const tag = item.plan.image?.tag ?? "";
      if (state !== "unsure" && shown.has(tag) !== (state === "there"))
        record.fail(
          `tag list of ${repository} (${pages.join(", ")}) ${shown.has(tag) ? "has" : "lacks"} ` +
            `${tag}, which is ${state}: ${historyOf(client, item)}`,
        );
    }
  }

  #newBytes(random: Random): Bytes {
    const size = random.pick(this.#pushed > PUSHED_MAX ? SMALL : SIZES);
    this.#pushed += size;
    return newBytes(this.#seed++, size + random.int(50));
  }

  #newBlob(random: Random): Item {
    const blob = this.#newBytes(random);
    return new Item({ repository: "chaos/blobs", digest: blob.digest, blobs: [blob] });
  }

  #newImage(random: Random): Item {
    const layers = [this.#newBytes(random)];
    if (random.chance(0.3)) layers.push(this.#newBytes(random));
    if (random.chance(0.4)) layers.unshift(random.pick(SHARED));
    const manifest = imageManifest({ config: CONFIG, layers: layers.map(named) });
    return new Item({
      repository: random.pick(REPOSITORIES),
      digest: sha256(manifest),
      image: { tag: `i${this.items.length}`, manifest },
      blobs: [CONFIG, ...layers],
    });
  }
}

const named = ({ digest, size }: Bytes) => ({ digest, size });

/** A blob of an image, or a part of it. */
async function readBlob(client: Puller, item: Item, blob: Bytes, isPart: boolean): Promise<void> {
  const { record, random } = client;
  const path = `/v2/${item.plan.repository}/blobs/${blob.digest}`;
  const from = random.int(blob.size);
  const to = from + random.int(blob.size - from);
  const certain = item.watch();
  const headers: Readonly<{ [name: string]: string }> = isPart
    ? { Range: `bytes=${from}-${to}` }
    : {};
  const answer = await pull(client, path, certain, { headers });
  if (answer === undefined) return;
  const what = `${path} ${headers["Range"] ?? ""} at ${answer.node}, ${record.at(answer.start)}`;
  if (answer.status === (isPart ? 206 : 200)) {
    const whole = contentOf(blob);
    const expected = isPart ? whole.subarray(from, to + 1) : whole;
    if (!Buffer.from(answer.bytes).equals(expected))
      record.fail(`WRONG BYTES: ${what}: ${answer.bytes.length} of ${expected.length}`);
  } else if (answer.status !== 404 || certain() === "there")
    record.fail(
      `${what} answered ${answer.status}: ${decode(answer.bytes)}; its image: ${historyOf(client, item)}`,
    );
}
