/** Which servers, as whom, how. */
import type { SQL } from "bun";

export interface Host {
  /** Name or address without brackets; or, beginning with `/`, the directory of a unix socket. */
  readonly host: string;
  readonly port: number;
}

export interface Target {
  /** At least one. The one that takes writes is used, whichever it is. */
  readonly hosts: readonly Host[];
  readonly user: string;
  readonly password?: string | undefined;
  readonly database: string;
  readonly tls?: {
    /** `prefer` (default): when the server can; `require`: encrypted, whoever answers; `verify-full`: certificate and name checked. */
    readonly mode?: "disable" | "prefer" | "require" | "verify-full";
    /** PEM text of the authorities trusted instead of the system's; only with `verify-full`. */
    readonly ca?: string | undefined;
  };
}

/** For messages. */
export function nameOf({ host, port }: Host): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

export function sqlOptions(
  { user, password, database, tls }: Target,
  { host, port }: Host,
): SQL.PostgresOrMySQLOptions {
  const { mode = "prefer", ca } = tls ?? {};
  const local = host.startsWith("/");
  return {
    adapter: "postgres",
    ...(local ? { path: `${host}/.s.PGSQL.${port}` } : { hostname: host, port }),
    username: user,
    password: password ?? "",
    database,
    connection: { application_name: "holdfast" },
    tls: local ? "disable" : mode === "verify-full" && ca !== undefined ? { ca } : mode,
  };
}
