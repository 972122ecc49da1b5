import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, expect, test } from "bun:test";
import { runHoldfast } from "../support/failed-start.ts";
import { freePort, signal, until } from "../support/processes.ts";
import { startServer } from "../support/server.ts";

const home = mkdtempSync(join(tmpdir(), "holdfast-tls-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const [cert, key] = [join(home, "cert.pem"), join(home, "key.pem")];
const env = { HOLDFAST_TLS_CERT: cert, HOLDFAST_TLS_KEY: key };

/** Writes NAME.crt and NAME.key, a self-signed pair for that common name. */
function make(name: string): void {
  const args =
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=${name} ` +
    `-keyout ${name}.key -out ${name}.crt`;
  const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args.split(" ")], { cwd: home });
  if (exitCode !== 0) throw new Error(stderr.toString());
}

function install(name: string): void {
  cpSync(join(home, `${name}.crt`), cert);
  cpSync(join(home, `${name}.key`), key);
}

for (const name of ["first", "second", "third"]) make(name);

/** The common name that a new connection is shown; none where it is cut on its way. */
function shownName(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on("error", () => resolve(undefined));
  });
}

/** New connections may still reach a worker that is a moment behind: asks until all of several answers agree. */
async function shown(port: number, name: string): Promise<boolean> {
  const names = await Promise.all(Array.from({ length: 8 }, () => shownName(port)));
  return names.every((seen) => seen === name);
}

test("a changed certificate is taken up under load, and hardly a request has to be repeated", async () => {
  install("first");
  await using server = await startServer({ env, scheme: "https" });
  expect(await shown(server.port, "first")).toBe(true);
  let running = true;
  let repeated = 0;
  const ask = (): Promise<Response> =>
    fetch(`${server.url}/v2/`, { tls: { rejectUnauthorized: false } });
  // The kernel resets connections that a listener had not accepted yet when it went: rare, and only on a busy machine.
  const askAgain = async (): Promise<Response> => {
    for (let tries = 1; ; tries++) {
      try {
        return await ask();
      } catch (error) {
        if (tries === 5) throw error;
        repeated++;
        await Bun.sleep(20);
      }
    }
  };
  const failures: string[] = [];
  const clients = Array.from({ length: 6 }, async () => {
    let count = 0;
    try {
      for (; running; count++) {
        const response = await askAgain();
        if (response.status !== 200) failures.push(`status ${response.status}`);
        await response.bytes();
      }
    } catch (error) {
      failures.push(String(error));
    }
    return count;
  });
  try {
    install("second");
    await until(
      () => shown(server.port, "second"),
      8000,
      "the second certificate, by its file's time",
    );
    install("third");
    signal(server.pid, "SIGHUP");
    await until(() => shown(server.port, "third"), 3000, "the third certificate, by SIGHUP");
    // The farewell of the sockets that had the second one.
    await Bun.sleep(1500);
  } finally {
    running = false;
  }
  for (const count of await Promise.all(clients)) expect(count).toBeGreaterThan(10);
  expect(failures).toEqual([]);
  expect(repeated).toBeLessThan(10);
});

test("a bad certificate is reported and the former one stays, also for a worker that is replaced", async () => {
  install("first");
  await using server = await startServer({ env, scheme: "https" });
  install("second");
  await until(() => shown(server.port, "second"), 8000, "the second certificate");
  writeFileSync(key, "-----BEGIN NONSENSE-----");
  signal(server.pid, "SIGHUP");
  await until(() => server.logs().includes("does not hold a private key"), 3000, "the report");
  cpSync(join(home, "first.key"), key);
  signal(server.pid, "SIGHUP");
  await until(
    () => server.logs().includes("does not belong to the certificate"),
    3000,
    "the report",
  );
  const before = server.workers();
  for (const pid of before) signal(pid, "SIGKILL");
  await until(
    () => server.workers().filter((pid) => !before.includes(pid)).length === 2,
    3000,
    "new workers",
  );
  await until(
    () => shown(server.port, "second").catch(() => false),
    3000,
    "the second certificate",
  );
});

test("a start with a certificate that cannot be used is refused with the remedy", async () => {
  cpSync(join(home, "first.crt"), cert);
  cpSync(join(home, "second.key"), key);
  const args = ["serve", "--listen", `127.0.0.1:${freePort()}`, "--data", join(home, "data")];
  const mismatch = await runHoldfast(args, { env });
  expect(mismatch.code).toBe(1);
  expect(mismatch.stderr).toContain("does not belong to the certificate");
  rmSync(key);
  const missing = await runHoldfast(args, { env });
  expect(missing.code).toBe(1);
  expect(missing.stderr).toContain("cannot read tls.key");
});
