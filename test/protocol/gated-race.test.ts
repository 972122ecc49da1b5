/** Races held open at their worst moment: a commit waits at a gate while another request goes by. */
import { expect, test } from "bun:test";
import { keys } from "../../src/meta/keys.ts";
import {
  StoreUnavailable,
  type Commit,
  type CommitResult,
  type MetaStore,
} from "../../src/meta/port.ts";
import { openInProcess } from "../support/in-process.ts";
import { bytesOf, imageManifest, MANIFEST_TYPE, sha256 } from "../support/push.ts";
import { header, pushBlob } from "./support/requests.ts";
import { interceptCommits } from "./support/stores.ts";

const SIZE = 100_000;

/** Holds back, or fails, the first commit that fits. */
class Gate {
  readonly reached: Promise<void>;
  readonly #reached = Promise.withResolvers<void>();
  readonly #opened = Promise.withResolvers<void>();
  #fits: ((commit: Commit) => boolean) | undefined;
  #failure: Error | undefined;

  constructor() {
    this.reached = this.#reached.promise;
  }

  arm(fits: (commit: Commit) => boolean, failure?: Error): void {
    this.#fits = fits;
    this.#failure = failure;
  }

  open(): void {
    this.#opened.resolve();
  }

  readonly wrap = (inner: MetaStore): MetaStore =>
    interceptCommits(inner, async (commit): Promise<CommitResult> => {
      if (this.#fits?.(commit)) {
        this.#fits = undefined;
        this.#reached.resolve();
        if (this.#failure) throw this.#failure;
        await this.#opened.promise;
      }
      return inner.commit(commit);
    });
}

const puts =
  (prefix: string) =>
  ({ put = [] }: Commit): boolean =>
    put.some(({ key }) => key.startsWith(prefix));
const deletes =
  (prefix: string) =>
  ({ delete: gone = [] }: Commit): boolean =>
    gone.some((key) => key.startsWith(prefix));

async function openSession(handle: (path: string, init?: RequestInit) => Promise<Response>) {
  const opened = await handle("/v2/a/blobs/uploads/", { method: "POST" });
  return header(opened, "Location");
}

test("a second request on a session waits outside until the first has noted what it wrote", async () => {
  const gate = new Gate();
  await using registry = await openInProcess({ wrapMeta: gate.wrap });
  const location = await openSession(registry.handle);
  const [first, second] = [bytesOf(1, SIZE), bytesOf(2, SIZE)];

  gate.arm(puts(keys.uploads));
  const patch = registry.handle(location, { method: "PATCH", body: first });
  await gate.reached;
  // Neither a finish with a wrong digest nor another chunk gets at the bytes meanwhile.
  const wrong = await registry.handle(`${location}?digest=${sha256("wrong")}`, { method: "PUT" });
  expect(wrong.status).toBe(416);
  const other = await registry.handle(location, { method: "PATCH", body: second });
  expect(other.status).toBe(416);
  gate.open();
  expect((await patch).status).toBe(202);

  // What was acknowledged is there, and the session goes on.
  const status = await registry.handle(location);
  expect(header(status, "Range")).toBe(`0-${SIZE - 1}`);
  const more = await registry.handle(location, { method: "PATCH", body: second });
  expect(header(more, "Range")).toBe(`0-${2 * SIZE - 1}`);
  const whole = Buffer.concat([first, second]);
  const done = await registry.handle(`${location}?digest=${sha256(whole)}`, { method: "PUT" });
  expect(done.status).toBe(201);
});

test("the digest of earlier bytes is never taken for that of later ones", async () => {
  await using registry = await openInProcess();
  const location = await openSession(registry.handle);
  const [first, second] = [bytesOf(1, SIZE), bytesOf(2, SIZE)];
  await registry.handle(location, { method: "PATCH", body: first });
  const session = location.slice(location.lastIndexOf("/") + 1);
  const { entries } = await registry.meta.get([keys.upload(session)]);
  const record = entries[0]?.value ?? "";
  await registry.handle(`${location}?digest=${sha256("wrong")}`, { method: "PUT" });
  await registry.handle(location, { method: "PATCH", body: second });
  // As a crash between removing the bytes and removing their record would leave it.
  await registry.meta.commit({ put: [{ key: keys.upload(session), value: record }] });
  const finish = await registry.handle(`${location}?digest=${sha256(first)}`, { method: "PUT" });
  expect(finish.status).toBe(400);
  expect((await registry.handle(`/v2/a/blobs/${sha256(first)}`)).status).toBe(404);
});

test("an upload whose link failed is sent again, not refused for good", async () => {
  const gate = new Gate();
  await using registry = await openInProcess({ wrapMeta: gate.wrap });
  const location = await openSession(registry.handle);
  const content = bytesOf(3, SIZE);
  await registry.handle(location, { method: "PATCH", body: content });
  gate.arm(puts("link!"), new StoreUnavailable("away"));
  const url = `${location}?digest=${sha256(content)}`;
  expect((await registry.handle(url, { method: "PUT" })).status).toBe(503);
  expect((await registry.handle(url, { method: "PUT" })).status).toBe(404);
  await pushBlob(registry.handle, "a", content);
  expect((await registry.handle(url, { method: "PUT" })).status).not.toBe(503);
});

for (const order of ["before", "after"] as const) {
  test(`a blob is not deleted from under a manifest that is pushed ${order} the delete looked`, async () => {
    const gate = new Gate();
    await using registry = await openInProcess({ wrapMeta: gate.wrap });
    const layer = bytesOf(4, 100);
    await pushBlob(registry.handle, "a", layer);
    const part = { digest: sha256(layer), size: 100 };
    const push = async () =>
      registry.handle("/v2/a/manifests/v1", {
        method: "PUT",
        body: imageManifest({ config: part, layers: [part] }),
        headers: { "Content-Type": MANIFEST_TYPE },
      });
    const remove = async () => registry.handle(`/v2/a/blobs/${part.digest}`, { method: "DELETE" });

    gate.arm(order === "before" ? puts("manifest!") : deletes("link!"));
    const held = order === "before" ? push() : remove();
    await gate.reached;
    const passing = await (order === "before" ? remove() : push());
    gate.open();
    const [pushed, removed] = order === "before" ? [await held, passing] : [passing, await held];
    // One of the two came first, and the other has noticed.
    expect([pushed.status, removed.status].join()).toBe(order === "before" ? "404,202" : "201,405");
    const blob = await registry.handle(`/v2/a/blobs/${part.digest}`, { method: "HEAD" });
    expect(blob.status).toBe(pushed.status === 201 ? 200 : 404);
  });
}

test("bytes of a push that loses are removed, and what a crash left of that is swept", async () => {
  await using registry = await openInProcess();
  const locators = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const { locator } of registry.blobs.list()) found.push(locator);
    return found;
  };
  const manifest = imageManifest({ config: { digest: sha256("{}"), size: 2 }, layers: [] });
  await pushBlob(registry.handle, "a", new TextEncoder().encode("{}"));
  const refused = await registry.handle("/v2/a/manifests/v1", {
    method: "PUT",
    body: manifest,
    headers: { "Content-Type": MANIFEST_TYPE, "If-Match": "*" },
  });
  expect(refused.status).toBe(412);
  expect((await locators()).length).toBe(1);

  const orphan = await registry.blobs.put(
    sha256("x") as Parameters<typeof registry.blobs.put>[0],
    new TextEncoder().encode("x"),
  );
  await registry.meta.commit({ put: [{ key: keys.trash(orphan.locator), value: "{}" }] });
  expect(await registry.registry.sweepTrash(new AbortController().signal)).toBe(1);
  expect((await locators()).length).toBe(1);
  expect((await registry.meta.scan({ prefix: keys.trashes, limit: 1 })).entries).toEqual([]);
});
