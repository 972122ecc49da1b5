/** The metadata port's suite over a real PostgreSQL: one server, three handles, each with connections of its own. */
import { metaStoreConformance } from "../../src/meta/conformance.ts";
import { openPostgres } from "../../src/meta/postgres/index.ts";
import { describePostgres, startPostgres } from "../support/postgres.ts";

/** Long enough for every test's own past, short enough to be outrun. */
const HISTORY = 2000;

describePostgres("PostgreSQL", () => {
  metaStoreConformance("PostgreSQL", async () => {
    const server = await startPostgres();
    const options = { ...server.place, historyMax: HISTORY };
    const stores = await Promise.all([
      openPostgres(options),
      openPostgres(options),
      openPostgres(options),
    ]);
    const [first] = stores;
    return {
      stores,
      async forget() {
        const commits = Array.from({ length: 2 * HISTORY }, (_, index) =>
          first.commit({ put: [{ key: "zz!outrun", value: `${index}` }] }),
        );
        await Promise.all(commits);
      },
      async close() {
        await Promise.all(stores.map((store) => store.close()));
        await server[Symbol.asyncDispose]();
      },
    };
  });
});
