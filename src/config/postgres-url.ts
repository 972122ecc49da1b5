import type { Parsed } from "./parsed.ts";
import type { PostgresHost, PostgresTlsMode } from "./database.ts";

/** What an address of PostgreSQL says. */
export interface PostgresUrl {
  readonly hosts: readonly PostgresHost[];
  readonly user: string;
  readonly password: string | undefined;
  readonly database: string;
  /** Its parameter `sslmode`. */
  readonly mode: PostgresTlsMode | undefined;
}

const DEFAULT_PORT = 5432;
const form =
  /^postgres(?:ql)?:\/\/(?:(?<user>[^/?#:]*)(?::(?<password>[^/?#]*))?@)?(?<hosts>[^/?#@]*)(?:\/(?<database>[^/?#]*))?(?:\?(?<query>[^#]*))?$/i;
const hostForm = /^(?:\[(?<v6>[\da-f:.]+)\]|(?<name>[^[\]:]+))(?::(?<port>\d{1,5}))?$/i;
const example = 'such as "postgres://user@host:5432/database"';

const modes = new Map<string, PostgresTlsMode>([
  ["disable", "disable"],
  ["allow", "prefer"],
  ["prefer", "prefer"],
  ["require", "require"],
  ["verify-full", "verify-full"],
]);

/** Reads a connection address (libpq's URI form). No problem repeats what was written: it may hold a password. */
export function parsePostgresUrl(text: string): Parsed<PostgresUrl> {
  const { user, password, hosts = "", database, query } = form.exec(text.trim())?.groups ?? {};
  const places = hosts.split(",").map(parseHost);
  const parts = { user: decoded(user), password: decoded(password), database: decoded(database) };
  if (hosts === "" || places.includes(undefined) || Object.values(parts).includes(null))
    return {
      problem: `this is no address of PostgreSQL; write one ${example}, with special characters of names and passwords percent-encoded`,
    };
  if (!parts.user)
    return { problem: `the address names no user; write it before an "@", ${example}` };
  const parameters = parseParameters(query ?? "");
  if ("problem" in parameters) return parameters;
  return {
    value: {
      hosts: places.filter((place) => place !== undefined),
      user: parts.user,
      password: parts.password || undefined,
      database: parts.database || parts.user,
      mode: parameters.value,
    },
  };
}

function parseHost(text: string): PostgresHost | undefined {
  const { v6, name, port } = hostForm.exec(text)?.groups ?? {};
  const host = v6 ?? decoded(name);
  const number = port === undefined ? DEFAULT_PORT : Number(port);
  if (!host || number < 1 || number > 65_535) return undefined;
  return { host, port: number };
}

/** `null`: it is not percent-encoded as it should be. */
function decoded(text: string | undefined): string | null | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** A parameter that is not honoured may be one that protects. */
function parseParameters(query: string): Parsed<PostgresTlsMode | undefined> {
  let mode: PostgresTlsMode | undefined;
  for (const [name, value] of new URLSearchParams(query)) {
    if (name === "target_session_attrs" && ["read-write", "primary"].includes(value)) continue;
    if (name !== "sslmode")
      return {
        problem: `the address has a parameter ${/^\w{1,40}$/.test(name) ? `"${name}" ` : ""}that is not understood; remove it (sslmode is; a CA goes to metadata.postgres.tls.ca)`,
      };
    mode = modes.get(value);
    if (mode === undefined)
      return {
        problem: `the address has an unknown sslmode; write ${[...modes.keys()].join(", ")}`,
      };
  }
  return { value: mode };
}

/** Writes an address without its password. */
export function formatPostgresUrl(url: Pick<PostgresUrl, "hosts" | "user" | "database">): string {
  const hosts = url.hosts.map(({ host, port }) =>
    host.includes(":") ? `[${host}]:${port}` : `${encodeURIComponent(host)}:${port}`,
  );
  return `postgres://${encodeURIComponent(url.user)}@${hosts.join(",")}/${encodeURIComponent(url.database)}`;
}
