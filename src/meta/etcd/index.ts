/** What app/ and the cluster need of this engine. */
export { EtcdClient, type EtcdClientOptions } from "./client.ts";
export { type EtcdOptions, type EtcdStore, openEtcd } from "./store.ts";
