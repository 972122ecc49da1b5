/** TLS to a PostgreSQL server, in every mode. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openPostgres } from "../../src/meta/postgres/index.ts";
import type { Target } from "../../src/meta/postgres/target.ts";
import { describePostgres, startPostgres, type TestPostgres } from "../support/postgres.ts";

let home = "";
let server: TestPostgres | undefined;
let authority = "";
let stranger = "";

function openssl(...args: readonly string[]): void {
  const done = Bun.spawnSync(["openssl", ...args], { cwd: home, stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(done.stderr.toString());
}

const fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];

function makeAuthority(name: string): Promise<string> {
  const extensions = ["-addext", "basicConstraints=critical,CA:TRUE"];
  openssl(
    "req",
    "-x509",
    ...fresh,
    ...extensions,
    "-subj",
    `/CN=${name}`,
    "-keyout",
    `${name}.key`,
    "-out",
    `${name}.crt`,
  );
  return Bun.file(join(home, `${name}.crt`)).text();
}

describePostgres("TLS", () => {
  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), "holdfast-postgres-tls-"));
    authority = await makeAuthority("authority");
    stranger = await makeAuthority("stranger");
    openssl(
      "req",
      "-new",
      ...fresh.slice(0, -2),
      "-subj",
      "/CN=db",
      "-keyout",
      "db.key",
      "-out",
      "db.csr",
    );
    await Bun.write(join(home, "names"), "subjectAltName=DNS:localhost\n");
    openssl(
      "x509",
      "-req",
      "-in",
      "db.csr",
      "-CA",
      "authority.crt",
      "-CAkey",
      "authority.key",
      "-CAcreateserial",
      "-days",
      "2",
      "-extfile",
      "names",
      "-out",
      "db.crt",
    );
    // PostgreSQL demands a key that only its user or root may read.
    Bun.spawnSync(["chmod", "755", home]);
    Bun.spawnSync(["chmod", "640", join(home, "db.key")]);
    if (process.getuid?.() === 0) Bun.spawnSync(["chgrp", "postgres", join(home, "db.key")]);
    else Bun.spawnSync(["chmod", "600", join(home, "db.key")]);
    server = await startPostgres({
      settings: ["ssl = on", `ssl_cert_file = '${home}/db.crt'`, `ssl_key_file = '${home}/db.key'`],
    });
  }, 30_000);
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    rmSync(home, { recursive: true, force: true });
  });

  /** Whether the connections were encrypted, or the message of the refusal. */
  async function outcome(host: string, tls: Target["tls"]): Promise<boolean | string> {
    if (server === undefined) throw new Error("no server");
    try {
      const store = await openPostgres({
        ...server.place,
        hosts: [{ host, port: server.port }],
        ...(tls === undefined ? {} : { tls }),
      });
      await store.commit({ put: [{ key: "k", value: "1" }] });
      const ssl = server.sql(
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'holdfast'",
      );
      await store.close();
      return ssl === "t";
    } catch (error) {
      return (error as Error).message;
    }
  }

  test("is used where the server can, unless it is switched off", async () => {
    expect(await outcome("127.0.0.1", undefined)).toBe(true);
    expect(await outcome("127.0.0.1", { mode: "disable" })).toBe(false);
    expect(await outcome("127.0.0.1", { mode: "require" })).toBe(true);
  });

  test("verify-full takes the authority's certificate for the server's name, and no other", async () => {
    const refused = "do not agree on TLS";
    expect(await outcome("localhost", { mode: "verify-full", ca: authority })).toBe(true);
    expect(await outcome("127.0.0.1", { mode: "verify-full", ca: authority })).toContain(refused);
    expect(await outcome("localhost", { mode: "verify-full", ca: stranger })).toContain(refused);
    expect(await outcome("localhost", { mode: "verify-full" })).toContain(refused);
  });
});
