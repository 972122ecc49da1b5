/**
 * Kubernetes gives every container variables for each service of its namespace, named after the service. A service called
 * `holdfast`, `registry` or `registry-auth` so makes `REGISTRY_PORT=tcp://…` or `REGISTRY_AUTH_SERVICE_HOST`, which nobody
 * meant as configuration. Docker links make the same `_PORT` ones, and `_NAME`, `_ENV_…`.
 */
const named =
  /_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/;
const endpoint = /^(?:tcp|udp|sctp):\/\//;

/** A variable that the platform made for a service, not an operator for us. */
export function isServiceVariable(name: string, value: string): boolean {
  return named.test(name) || (name.endsWith("_PORT") && endpoint.test(value));
}
