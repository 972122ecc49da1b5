import { mkdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "bun:test";
import { StoreUnavailable } from "../port.ts";
import { committerOf, connectClient, openWriter } from "./index.ts";
import { serveCommits } from "../link/server.ts";
import { spawnWriter, temporaryPlace } from "./processes/spawn.ts";

const failed = (error: unknown) => error;
const never = () => {
  throw new Error("the writer was lost");
};

describe("the writer's socket", () => {
  test("works below a path longer than a socket's may be, and is for the owner only", async () => {
    const place = temporaryPlace();
    const deep = join(dirname(place.path), ...Array.from({ length: 5 }, () => "d".repeat(40)));
    const [path, socket] = [join(deep, "holdfast.db"), join(deep, "writer.sock")];
    const writer = openWriter({ path });
    for (let round = 0; round < 2; round++) {
      const server = await serveCommits(committerOf(writer), socket);
      expect(statSync(socket).mode & 0o777).toBe(0o600);
      const client = await connectClient({ path, socket, onLost: never });
      expect((await client.commit({ put: [{ key: "k", value: "1" }] })).ok).toBe(true);
      await client.close();
      server.close();
    }
    await writer.close();
    place.remove();
  });

  test("a socket file that a dead writer left is replaced", async () => {
    const place = temporaryPlace();
    const first = await spawnWriter(place);
    first.kill("SIGKILL");
    await first.exited;
    const second = await spawnWriter(place);
    const client = await connectClient({ ...place, onLost: never });
    expect((await client.commit({ put: [{ key: "k", value: "1" }] })).ok).toBe(true);
    await client.close();
    second.kill();
    expect(await second.exited).toBe(0);
    place.remove();
  });

  test("when the writer dies, commits under way fail, watches end, and the worker is told once", async () => {
    const place = temporaryPlace();
    const writer = await spawnWriter(place);
    let losses = 0;
    const client = await connectClient({ ...place, onLost: () => losses++ });
    await client.commit({ put: [{ key: "k", value: "1" }] });
    const watching = Array.fromAsync(
      client.watch({ prefix: "none", after: 0, signal: new AbortController().signal }),
    ).catch(failed);
    writer.kill("SIGSTOP");
    const underWay = client.commit({ put: [{ key: "k", value: "2" }] }).catch(failed);
    await Bun.sleep(30);
    writer.kill("SIGKILL");
    expect(await underWay).toBeInstanceOf(StoreUnavailable);
    expect(await watching).toBeInstanceOf(StoreUnavailable);
    expect(await client.commit({}).catch(failed)).toBeInstanceOf(StoreUnavailable);
    expect(await client.get(["k"]).catch(failed)).toBeInstanceOf(StoreUnavailable);
    await client.close();
    expect(losses).toBe(1);
    place.remove();
  });

  test("a client without a writer, or without its database, is refused", async () => {
    const place = temporaryPlace();
    expect(await connectClient({ ...place, onLost: never }).catch(failed)).toBeInstanceOf(
      StoreUnavailable,
    );
    const writer = openWriter({ path: place.path });
    const server = await serveCommits(committerOf(writer), place.socket);
    const other = { path: `${place.path}.none`, socket: place.socket, onLost: never };
    expect(await connectClient(other).catch(failed)).toBeInstanceOf(StoreUnavailable);
    server.close();
    expect(await connectClient({ ...place, onLost: never }).catch(failed)).toBeInstanceOf(
      StoreUnavailable,
    );
    await writer.close();
    place.remove();
  });

  test("who speaks something else is cut off, and the others go on", async () => {
    const place = temporaryPlace();
    mkdirSync(dirname(place.path), { recursive: true });
    const writer = openWriter({ path: place.path });
    const server = await serveCommits(committerOf(writer), place.socket);
    const client = await connectClient({ ...place, onLost: never });
    const cut = Promise.withResolvers<void>();
    const stranger = await Bun.connect({
      unix: place.socket,
      socket: { data() {}, close: () => cut.resolve() },
    });
    stranger.write("GET / HTTP/1.1\r\n\r\n");
    await cut.promise;
    expect((await client.commit({ put: [{ key: "k", value: "1" }] })).ok).toBe(true);
    await client.close();
    server.close();
    await writer.close();
    place.remove();
  });

  test("large commits both ways pass a socket that takes little at a time", async () => {
    const place = temporaryPlace();
    const writer = await spawnWriter(place);
    const client = await connectClient({ ...place, onLost: never });
    const value = JSON.stringify("🐳".repeat(16_000));
    const results = await Promise.all(
      Array.from({ length: 600 }, (_, index) =>
        client.commit({ put: [{ key: `k${index}`, value }] }),
      ),
    );
    expect(new Set(results.map((result) => result.ok && result.revision)).size).toBe(600);
    expect((await client.get(["k599"])).entries[0]?.value).toBe(value);
    await client.close();
    writer.kill();
    await writer.exited;
    place.remove();
  });
});
