/** Going on with one node of a cluster whose majority is lost for good. */
import type { Logger } from "../base/log.ts";
import { recoverAlone, type Recovery } from "../cluster/membership/index.ts";
import { etcdUrl } from "../cluster/etcd/index.ts";
import type { Config } from "../config/config.ts";
import { etcdClient, openClusterLink } from "./cluster.ts";
import { etcdOptionsOf, etcdPlaces, writeCertificates } from "./cluster-etcd.ts";
import { takeDataDirectory } from "./data-directory.ts";
import { StartError, starting } from "./start-error.ts";
import { VERSION } from "./version.ts";

/** The node must not run. Throws `StartError`. */
export function recoverNode(config: Config, log: Logger): Promise<Recovery> {
  return starting(async () => {
    const { stores, data } = config;
    const settings = stores.kind === "cluster" ? stores.cluster.etcd : undefined;
    if (stores.kind !== "cluster" || settings?.kind !== "supervised")
      throw new StartError(
        "there is no cluster to recover: the configuration has no section cluster, or names an etcd of its own",
      );
    const { cluster } = stores;
    const { node, address, members } = cluster;
    using _lock = takeDataDirectory(data);
    using link = openClusterLink(cluster);
    const places = etcdPlaces(cluster);
    const tls = await writeCertificates(data, link.certificates);
    return await recoverAlone({
      data,
      node,
      place: { address, ...places },
      seeds: Object.keys(members).length === 0 ? undefined : members,
      version: VERSION,
      etcd: etcdOptionsOf(
        data,
        cluster,
        settings,
        { clusterId: "", state: "existing", members: { [node]: places.etcdPeer } },
        tls,
      ),
      ...(settings.binary === undefined ? {} : { binary: settings.binary }),
      api: etcdClient(link, [etcdUrl(places.etcdClient)]),
      peers: link.peers,
      log,
    });
  });
}
