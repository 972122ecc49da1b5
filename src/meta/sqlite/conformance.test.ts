import type { MetaStore } from "../port.ts";
import { metaStoreConformance } from "../conformance.ts";
import { committerOf, connectClient, openWriter } from "./index.ts";
import { serveCommits } from "../link/server.ts";
import { RemoteStore } from "./processes/remote-store.ts";
import { spawnWriter, temporaryPlace } from "./processes/spawn.ts";

/** Long enough for every test's own past, short enough to be outrun. */
const HISTORY = 2000;

const outrun = (store: MetaStore) => async () => {
  const commits = Array.from({ length: HISTORY + 10 }, (_, index) =>
    store.commit({ put: [{ key: "zz!outrun", value: `${index}` }] }),
  );
  await Promise.all(commits);
};

metaStoreConformance("SqliteWriter", async () => {
  const place = temporaryPlace();
  const writer = openWriter({ path: place.path, historyMax: HISTORY });
  return {
    stores: [writer, writer],
    forget: outrun(writer),
    async close() {
      await writer.close();
      place.remove();
    },
  };
});

metaStoreConformance("SqliteWriter and a client beside it", async () => {
  const place = temporaryPlace();
  const writer = openWriter({ path: place.path, historyMax: HISTORY });
  const server = await serveCommits(committerOf(writer), place.socket);
  const client = await connectClient({ ...place, onLost: () => process.exit(3) });
  return {
    stores: [writer, client],
    forget: outrun(client),
    async close() {
      await client.close();
      server.close();
      await writer.close();
      place.remove();
    },
  };
});

metaStoreConformance("two clients and the writer, three processes", async () => {
  const place = temporaryPlace();
  const writer = await spawnWriter(place, HISTORY);
  const client = await connectClient({ ...place, onLost: () => process.exit(3) });
  const remote = await RemoteStore.start(place.path, place.socket);
  return {
    stores: [client, remote],
    forget: outrun(client),
    async close() {
      await remote.close();
      await client.close();
      writer.kill();
      await writer.exited;
      place.remove();
    },
  };
});
