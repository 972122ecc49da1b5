import {
  storageMapped,
  storageSilent,
  storageSkipped,
  storageStops,
} from "./distribution-storage.ts";
import type { DistributionTree } from "./distribution-tree.ts";
import {
  duration,
  isFalse,
  isTrue,
  lowerCase,
  text,
  unprotected,
  unsupported,
  written,
  type Mapping,
  type Skip,
  type Stop,
} from "./distribution-values.ts";

/** First parts of everything that distribution v2.8 and v3 can be told. */
export const sections: readonly string[] = [
  "version",
  "log",
  "loglevel",
  "storage",
  "auth",
  "middleware",
  "reporting",
  "http",
  "redis",
  "notifications",
  "health",
  "catalog",
  "proxy",
  "compatibility",
  "validation",
  "policy",
];

const purging = "storage.maintenance.uploadpurging";
const purged = (value: unknown, tree: DistributionTree): unknown =>
  isFalse(tree.get(`${purging}.enabled`)) || isTrue(tree.get(`${purging}.dryrun`))
    ? undefined
    : duration(value);

export const mapped: readonly Mapping[] = [
  ...storageMapped,
  { from: "http.addr", to: "listen", read: text },
  { from: "http.tls.certificate", to: "tls.cert", read: text },
  { from: "http.tls.key", to: "tls.key", read: text },
  { from: "http.host", to: "publicUrl", read: text },
  { from: "http.draintimeout", to: "drain.timeout", read: duration },
  {
    from: "http.debug.addr",
    to: "metrics.listen",
    read: (value, tree) =>
      isTrue(tree.get("http.debug.prometheus.enabled")) ? text(value) : undefined,
  },
  {
    from: "storage.filesystem.rootdirectory",
    to: "data",
    // Where distribution keeps its data when its filesystem driver is not told.
    read: (value, tree) =>
      text(value) ??
      (tree.names("storage").includes("filesystem") ? "/var/lib/registry" : undefined),
  },
  {
    from: "storage.delete.enabled",
    to: "auth.anonymous",
    read: (value) =>
      value === undefined
        ? undefined
        : isTrue(value)
          ? ["pull", "push", "delete"]
          : ["pull", "push"],
  },
  { from: `${purging}.age`, to: "uploads.expiry", read: purged },
  { from: `${purging}.interval`, to: "uploads.purgeInterval", read: purged },
  { from: "loglevel", to: "log.level", read: lowerCase },
  { from: "log.level", to: "log.level", read: lowerCase },
  {
    from: "log.formatter",
    to: "log.format",
    read: (value) => (value === "logstash" ? "json" : text(value)),
  },
  {
    from: "log.accesslog.disabled",
    to: "log.requests",
    read: (value) => (value === undefined ? undefined : !isTrue(value)),
  },
  {
    from: "catalog.maxentries",
    to: "limits.catalogEntries",
    read: (value) => (Number(value) > 0 ? Number(value) : undefined),
  },
];

export const stops: readonly Stop[] = [
  ...storageStops,
  {
    path: "auth",
    applies: (tree) => tree.names("auth").some((name) => name !== "none"),
    why: `${unprotected}; remove it, and let a proxy authenticate`,
  },
  {
    path: "http.tls.clientcas",
    applies: (tree) => written(tree.get("http.tls.clientcas")),
    why: `${unprotected}; remove it, and let a proxy ask for client certificates`,
  },
  {
    path: "http.tls.letsencrypt",
    // With a certificate of its own, distribution does not use this section either.
    applies: (tree) =>
      written(tree.get("http.tls.letsencrypt")) && !written(tree.get("http.tls.certificate")),
    why: `${unprotected}; let another program renew the certificate, and set http.tls.certificate and http.tls.key (they are read again when they change)`,
  },
  {
    path: "http.tls.minimumtls",
    applies: (tree) => tree.get("http.tls.minimumtls") === "tls1.3",
    why: `${unprotected} (TLS 1.2 would be accepted too); remove it, or let a proxy end TLS`,
  },
  {
    path: "http.tls.ciphersuites",
    applies: (tree) => written(tree.get("http.tls.ciphersuites")),
    why: `${unprotected}; remove it, or let a proxy end TLS`,
  },
  {
    path: "middleware",
    applies: (tree) => written(tree.get("middleware")),
    why: `${unprotected}; remove it`,
  },
  {
    path: "storage.maintenance.readonly",
    applies: (tree) => isTrue(tree.get("storage.maintenance.readonly.enabled")),
    why: `${unsupported} accept pushes that you forbade; remove it, or set HOLDFAST_AUTH_ANONYMOUS=["pull"] beside its removal`,
  },
  {
    path: "policy.repository.classes",
    applies: (tree) => written(tree.get("policy.repository.classes")),
    why: `${unprotected}; remove it`,
  },
  {
    path: "proxy",
    applies: (tree) => written(tree.get("proxy.remoteurl")),
    why: `${unsupported} be a plain registry where you asked for a pull-through cache; remove it, or stay with distribution for now`,
  },
  {
    path: "notifications.endpoints",
    applies: (tree) => written(tree.get("notifications.endpoints")),
    why: `${unsupported} lose events in silence; remove it, or set disabled: true`,
  },
  {
    path: "http.prefix",
    applies: (tree) => written(tree.get("http.prefix")) && tree.get("http.prefix") !== "/",
    why: `${unsupported} answer at other addresses than your clients use; remove it, and let a proxy take the prefix away`,
  },
  {
    path: "http.net",
    applies: (tree) => written(tree.get("http.net")) && tree.get("http.net") !== "tcp",
    why: "this version listens on TCP only; remove it, and set http.addr to host:port",
  },
];

export const skipped: readonly Skip[] = [
  {
    path: "auth.none",
    why: "it asks for no authentication",
    applies: (tree) => tree.names("auth").every((name) => name === "none"),
  },
  { path: "log.fields", why: "the fields of a log line are fixed" },
  { path: "log.hooks", why: "log lines go to the standard output only" },
  { path: "log.reportcaller", why: "log lines do not name source lines" },
  { path: "reporting", why: "nothing is reported to others" },
  { path: "storage.cache", why: "no descriptor cache is needed" },
  ...storageSkipped,
  { path: "storage.tag", why: "deleting a manifest does not read every tag" },
  { path: "storage.filesystem.maxthreads", why: "there is no such limit" },
  {
    path: purging,
    why: "uploads that nobody continues always expire; uploads.expiry says when",
    applies: (tree) =>
      isFalse(tree.get(`${purging}.enabled`)) || isTrue(tree.get(`${purging}.dryrun`)),
  },
  { path: "http.secret", why: "clients carry no state that would have to be signed" },
  { path: "http.relativeurls", why: "links are relative unless publicUrl is set" },
  {
    path: "http.headers",
    why: "the headers of answers are fixed (nosniff is among them)",
    applies: (tree) =>
      tree.names("http.headers").some((name) => name.toLowerCase() !== "x-content-type-options"),
  },
  { path: "http.http2", why: "HTTP/1.1 is spoken" },
  { path: "http.h2c", why: "HTTP/1.1 is spoken" },
  { path: "http.tls.clientauth", why: "it means nothing without clientcas" },
  {
    path: "http.debug",
    why: "there is no debug server; metrics are at metrics.listen",
    applies: (tree) => !isTrue(tree.get("http.debug.prometheus.enabled")),
  },
  {
    path: "http.debug.prometheus.path",
    why: "metrics are at /metrics",
    applies: (tree) =>
      ![undefined, "/metrics"].includes(tree.get("http.debug.prometheus.path") as string),
  },
  { path: "notifications.events", why: "there are no notifications" },
  { path: "redis", why: "no cache server is needed" },
  { path: "health", why: "/healthz and /readyz check what matters" },
  { path: "compatibility", why: "schema 1 manifests are not served" },
  {
    path: "validation",
    why: "see the keys validation.missingBlobs and validation.missingManifests",
  },
];

/** What is understood or means nothing, and needs no word. */
export const silent: readonly string[] = [
  "version",
  "http.headers",
  "http.debug",
  "http.tls",
  "auth",
  "proxy",
  "policy",
  "catalog",
  "notifications",
  ...storageSilent,
  "storage.filesystem",
  "storage.delete",
  "storage.maintenance",
];
