import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StorjAuth } from "../../../../test/support/storj-auth.ts";
import { makeGrant } from "../../../../test/support/storj-grant.ts";
import type { MetaStore } from "../../../meta/port.ts";
import { openWriter } from "../../../meta/sqlite/index.ts";
import { fileKeeper, metaKeeper, type CredentialKeeper } from "./credential-keeper.ts";
import { storjCredentials, type StorjCredentials, type StorjOptions } from "./credentials.ts";
import { StorjError } from "./error.ts";

const ENDPOINT = "https://gateway.storj.test";
const GRANT = makeGrant();
const OTHER_GRANT = makeGrant({ satellite: "other@eu1.storj.test:7777" });

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "holdfast-storj-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** A keeper with nothing in it; `again` opens what it kept once more, like the next start of the program. */
interface Medium extends AsyncDisposable {
  again(): CredentialKeeper;
}

let count = 0;

const media: Record<string, () => Medium> = {
  metadata: () => {
    const meta: MetaStore = openWriter({ path: join(directory, `${++count}`, "holdfast.db") });
    return { again: () => metaKeeper(meta), [Symbol.asyncDispose]: () => meta.close() };
  },
  file: () => {
    const place = join(directory, `${++count}`, "data");
    return { again: () => fileKeeper(place), async [Symbol.asyncDispose]() {} };
  },
};

/** One start of the program. */
function start(
  auth: StorjAuth,
  keeper: CredentialKeeper,
  more: Partial<StorjOptions> = {},
): Promise<StorjCredentials> {
  const options = {
    accessGrant: GRANT,
    bucket: "images",
    prefix: "",
    authService: auth.url,
    calls: { attempts: 1, timeout: 2000 },
  };
  return storjCredentials({ ...options, ...more }, keeper);
}

describe.each(Object.entries(media))("kept in the %s", (_, open) => {
  test("registered once, whatever the number of starts", async () => {
    await using auth = new StorjAuth({ endpoint: ENDPOINT });
    await using medium = open();
    const first = await start(auth, medium.again());
    expect(first).toMatchObject({
      settings: { endpoint: ENDPOINT, region: "us1", pathStyle: true },
      registered: true,
      satellite: "us1.storj.test:7777",
      expires: undefined,
    });
    for (let i = 0; i < 3; i++) {
      const next = await start(auth, medium.again());
      expect(next).toEqual({ ...first, registered: false });
    }
    expect(auth.requests).toBe(1);
  });

  test("not even asked for where the service is away later", async () => {
    await using medium = open();
    const auth = new StorjAuth({ endpoint: ENDPOINT });
    const first = await start(auth, medium.again());
    await auth[Symbol.asyncDispose]();
    expect((await start(auth, medium.again())).settings).toEqual(first.settings);
  });

  test("another grant registers anew, and the first one's pair stays its own", async () => {
    await using auth = new StorjAuth({ endpoint: ENDPOINT });
    await using medium = open();
    const first = await start(auth, medium.again());
    const second = await start(auth, medium.again(), { accessGrant: OTHER_GRANT });
    expect(second.settings.accessKeyId).not.toBe(first.settings.accessKeyId);
    expect((await start(auth, medium.again())).settings).toEqual(first.settings);
    expect(auth.registered).toEqual([GRANT, OTHER_GRANT]);
  });

  test("another auth service registers anew", async () => {
    await using auth = new StorjAuth({ endpoint: ENDPOINT });
    await using own = new StorjAuth({ endpoint: "https://gateway.own.test" });
    await using medium = open();
    await start(auth, medium.again());
    const second = await start(own, medium.again());
    expect(second.settings.endpoint).toBe("https://gateway.own.test");
    expect(own.registered).toEqual([GRANT]);
  });

  test("a pair that the gateway rejects is replaced, once", async () => {
    await using auth = new StorjAuth({ endpoint: ENDPOINT });
    await using medium = open();
    const first = await start(auth, medium.again());
    const rejected = first.settings.accessKeyId;
    const second = await start(auth, medium.again(), { rejected });
    expect(second.settings.accessKeyId).not.toBe(rejected);
    // A node that learns of the rejection later finds the new pair.
    const third = await start(auth, medium.again(), { rejected });
    expect(third.settings).toEqual(second.settings);
    expect(auth.requests).toBe(2);
  });

  test("what is kept but cannot be read is replaced", async () => {
    await using auth = new StorjAuth({ endpoint: ENDPOINT });
    await using medium = open();
    const names: string[] = [];
    const keeper = medium.again();
    const read = (name: string): Promise<string | undefined> => {
      names.push(name);
      return keeper.read(name);
    };
    await start(auth, { ...keeper, read });
    const [name = ""] = names;
    await keeper.keep(name, '{"accessKeyId":7}', await keeper.read(name));
    const next = await start(auth, medium.again());
    expect(next.registered).toBe(true);
    expect((await start(auth, medium.again())).settings).toEqual(next.settings);
  });

  test("endpoint and region given by the operator win", async () => {
    await using auth = new StorjAuth({ endpoint: ENDPOINT });
    await using medium = open();
    const given = { endpoint: "http://127.0.0.1:7777", region: "eu1" };
    expect((await start(auth, medium.again(), given)).settings).toMatchObject(given);
  });

  test("nothing is sent for a grant that cannot do", async () => {
    await using auth = new StorjAuth({ endpoint: ENDPOINT });
    await using medium = open();
    for (const accessGrant of [
      GRANT.slice(1),
      makeGrant({ caveats: [{ disallow: ["writes"] }] }),
      makeGrant({ caveats: [{ paths: [{ bucket: "b", prefix: new Uint8Array() }] }] }),
    ]) {
      const work = start(auth, medium.again(), { accessGrant });
      expect(await work.catch((error: unknown) => error)).toBeInstanceOf(StorjError);
    }
    expect(auth.requests).toBe(0);
  });
});

test("nodes that start at once register one pair", async () => {
  await using auth = new StorjAuth({ endpoint: ENDPOINT });
  const meta = openWriter({ path: join(directory, `${++count}`, "holdfast.db") });
  const all = await Promise.all(Array.from({ length: 8 }, () => start(auth, metaKeeper(meta))));
  expect(new Set(all.map(({ settings }) => settings.accessKeyId)).size).toBe(1);
  expect(all.filter(({ registered }) => registered)).toHaveLength(1);
  expect(auth.requests).toBe(1);

  // So they do when all learn that it is worth nothing any more.
  const rejected = all[0]?.settings.accessKeyId ?? "";
  const again = await Promise.all(
    Array.from({ length: 8 }, () => start(auth, metaKeeper(meta), { rejected })),
  );
  expect(new Set(again.map(({ settings }) => settings.accessKeyId)).size).toBe(1);
  expect(again[0]?.settings.accessKeyId).not.toBe(rejected);
  expect(auth.requests).toBe(2);
  await meta.close();
});

test("a node that hangs or dies at it holds up the others for a while, and all end with the same pair", async () => {
  await using auth = new StorjAuth({ endpoint: ENDPOINT });
  const meta = openWriter({ path: join(directory, `${++count}`, "holdfast.db") });
  auth.script.push("hang");
  const late = start(auth, metaKeeper(meta), { calls: { attempts: 2, timeout: 1000, pause: 10 } });
  while (auth.requests === 0) await Bun.sleep(5);
  const began = performance.now();
  const first = await start(auth, metaKeeper(meta, 300));
  expect(performance.now() - began).toBeGreaterThan(290);
  expect(performance.now() - began).toBeLessThan(900);
  expect(first.registered).toBe(true);
  const second = await late;
  expect(second).toEqual({ ...first, registered: false });
  // Its turn, long over, is nobody's obstacle.
  const third = await start(auth, metaKeeper(meta), { rejected: first.settings.accessKeyId });
  expect(third.registered).toBe(true);
  await meta.close();
});

test("one that fails at it lets the next one try at once", async () => {
  await using auth = new StorjAuth({ endpoint: ENDPOINT });
  const meta = openWriter({ path: join(directory, `${++count}`, "holdfast.db") });
  auth.script.push(new Response("", { status: 500 }));
  const both = await Promise.allSettled([
    start(auth, metaKeeper(meta)),
    start(auth, metaKeeper(meta)),
  ]);
  expect(both.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  await meta.close();
}, 5000);

test("the file is for its user alone, whatever a crash left in its place", async () => {
  await using auth = new StorjAuth({ endpoint: ENDPOINT });
  const place = join(directory, `${++count}`);
  await start(auth, fileKeeper(place));
  const [name = ""] = await readdir(place);
  await rm(join(place, name));
  await writeFile(join(place, `${name}.new`), "half");
  await chmod(join(place, `${name}.new`), 0o644);
  await start(auth, fileKeeper(place));
  expect(await readdir(place)).toEqual([name]);
  expect((await stat(join(place, name))).mode & 0o777).toBe(0o600);
});
