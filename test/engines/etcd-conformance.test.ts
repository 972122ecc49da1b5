/** The metadata port's suite over a real etcd: one member, two handles. */
import { openEtcd } from "../../src/meta/etcd/index.ts";
import { metaStoreConformance } from "../../src/meta/conformance.ts";
import { describeEtcd, startEtcd } from "../support/etcd.ts";

describeEtcd("etcd", () => {
  metaStoreConformance("etcd", async () => {
    const etcd = await startEtcd();
    const stores = await Promise.all([openEtcd(etcd), openEtcd(etcd)]);
    return {
      stores,
      async forget() {
        const [store] = stores;
        await store.compact((await store.get([])).revision);
      },
      async close() {
        await Promise.all(stores.map((store) => store.close()));
        await etcd[Symbol.asyncDispose]();
      },
    };
  });
});
