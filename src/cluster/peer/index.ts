/** Talking to other nodes: who belongs to the cluster, the peer port, and its client. */
export {
  ClusterCertificates,
  PEER_NAME,
  type CertificateOptions,
  type PeerCertificate,
  type PemFiles,
} from "./certificates.ts";
export { connectPeers, type PeersOptions } from "./client.ts";
export {
  PeerUnavailable,
  type PeerCaller,
  type PeerHandler,
  type PeerRequest,
  type Peers,
} from "./port.ts";
export { PEER_PROTOCOL } from "./protocol.ts";
export { clusterKeys, type ClusterKeys } from "./secret.ts";
export {
  servePeers,
  type PeerHandlers,
  type PeerServer,
  type PeerServerOptions,
} from "./server.ts";
