import { parsePostgresUrl, type PostgresUrl } from "./postgres-url.ts";
import type { EtcdConfig, PostgresConfig } from "./database.ts";
import type { SchemaOutput } from "./schema.ts";
import type { Secret } from "./secret.ts";
import type { Section } from "./section.ts";

type Postgres = SchemaOutput["metadata"]["postgres"];
type Etcd = SchemaOutput["metadata"]["etcd"];

/** `undefined` when there are problems; they are in the section's findings. */
export function resolvePostgres(data: Postgres, section: Section): PostgresConfig | undefined {
  const address = section.secret("url", data.url, data.urlFile);
  const urlKey = data.urlFile === undefined ? "url" : "urlFile";
  if (!section.has("url") && !section.has("urlFile"))
    section.problem(
      "url",
      "it is not set; set it or metadata.postgres.urlFile to the address of the database",
    );
  const url = address && section.take(urlKey, parsePostgresUrl(address.text));
  const password = section.secret("password", data.password, data.passwordFile);
  const tls = resolveTls(data, url, urlKey, section);
  if (!url) return undefined;
  const { hosts, database, user } = url;
  if (url.password !== undefined && (section.has("password") || section.has("passwordFile"))) {
    const name = section.has("password") ? "password" : "passwordFile";
    section.problem(name, "the address holds a password too; write it in one place only");
  }
  const inUrl: Secret | undefined =
    url.password === undefined ? undefined : { text: url.password, file: address?.file };
  return {
    kind: "postgres",
    hosts,
    database,
    user,
    password: password ?? inUrl,
    urlFile: address?.file,
    tls,
    connections: data.connections,
  };
}

function resolveTls(
  { tls }: Postgres,
  url: PostgresUrl | undefined,
  urlKey: string,
  section: Section,
): PostgresConfig["tls"] {
  const ca = section.pem("tls.ca", tls.ca);
  const mode = tls.mode ?? url?.mode ?? (tls.ca === undefined ? "prefer" : "verify-full");
  if (tls.mode !== undefined && url?.mode !== undefined && tls.mode !== url.mode)
    section.problem(
      "tls.mode",
      `metadata.postgres.${urlKey} says sslmode=${url.mode}, which is another; write it in one place only`,
    );
  else if (tls.ca !== undefined && mode !== "verify-full")
    section.problem(
      "tls.ca",
      `nothing is checked against it in the mode ${mode}; set metadata.postgres.tls.mode to verify-full, or remove it`,
    );
  return { mode, ca };
}

/** `undefined` when there are problems; they are in the section's findings. */
export function resolveEtcd(data: Etcd, section: Section): EtcdConfig | undefined {
  const endpoints = section.required(
    "endpoints",
    data.endpoints,
    'name the members, such as ["http://10.0.0.1:2379"]',
  );
  const password = section.secret("password", data.password, data.passwordFile);
  const given = section.has("password") || section.has("passwordFile");
  section.half("username", "password", data.username !== undefined, given);
  section.half("tls.cert", "tls.key", data.tls.cert !== undefined, data.tls.key !== undefined);
  const ca = section.pem("tls.ca", data.tls.ca);
  const cert = section.pem("tls.cert", data.tls.cert);
  const key = section.pem("tls.key", data.tls.key, "PRIVATE KEY");
  if (!endpoints) return undefined;
  checkEndpoints(endpoints, data, section);
  const credentials =
    data.username !== undefined && password ? { username: data.username, password } : undefined;
  const client = cert && key ? { cert, key } : undefined;
  return { kind: "etcd", endpoints, prefix: data.prefix, credentials, tls: { ca, client } };
}

function checkEndpoints(endpoints: readonly string[], { tls }: Etcd, section: Section): void {
  const plain = endpoints.filter((endpoint) => endpoint.startsWith("http:"));
  const [first] = plain;
  if (first === undefined) return;
  const protecting = (["ca", "cert", "key"] as const).find((name) => tls[name] !== undefined);
  if (protecting !== undefined)
    section.problem(
      `tls.${protecting}`,
      `"${first}" is not encrypted; write https for every endpoint, or remove ${section.path}.tls`,
    );
  else if (plain.length < endpoints.length)
    section.problem(
      "endpoints",
      `"${first}" is not encrypted and others are; write https for all, or http for all`,
    );
}
