/** What went wrong on the way to a peer, as a sentence for the operator. */
import { PeerUnavailable } from "./port.ts";

/** `fingerprint` is that of this node's secret. */
export function unreachable(address: string, error: unknown, fingerprint: string): PeerUnavailable {
  return new PeerUnavailable(sentence(address, error, fingerprint), { cause: error });
}

function sentence(address: string, error: unknown, fingerprint: string): string {
  const node = `the node at ${address}`;
  switch (codeOf(error)) {
    case "ECONNREFUSED":
    case "ConnectionRefused":
      return `nothing listens at ${address}: the node is down, or its peer port is another one`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "DNS_ENOTFOUND":
      return `the host name of ${address} cannot be resolved`;
    case "CERT_NOT_YET_VALID":
    case "CERT_HAS_EXPIRED":
      return `the certificate of ${node} is not valid at this time: the clocks of the two nodes are more than a day apart, or it has not renewed it`;
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "CERT_SIGNATURE_FAILURE":
    case "CERT_UNTRUSTED":
    case "INVALID_PURPOSE":
    case "ERR_TLS_CERT_ALTNAME_INVALID":
    case "EPROTO":
      return (
        `${node} shows a certificate of another cluster (other cluster.secretFile), or is no Holdfast node ` +
        `(this node's secret has fingerprint ${fingerprint})`
      );
    case "ECONNRESET":
      return `${node} closed the connection`;
    case undefined:
    default:
      return `${node} cannot be reached (${error instanceof Error ? error.message : String(error)})`;
  }
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
