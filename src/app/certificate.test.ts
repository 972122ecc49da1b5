import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "bun:test";
import { expiryWarning, readCertificate } from "./certificate.ts";

const DAY = 86_400_000;
const home = mkdtempSync(join(tmpdir(), "holdfast-certificate-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

function openssl(args: string): void {
  const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args.split(" ")], { cwd: home });
  if (exitCode !== 0) throw new Error(stderr.toString());
}

const [cert, key] = [join(home, "cert.pem"), join(home, "key.pem")];
openssl(
  "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=x -keyout key.pem -out cert.pem",
);

test("warns from 14 days before the end", async () => {
  const pair = await readCertificate({ cert, key });
  expect(expiryWarning(cert, pair, Date.now() + 15 * DAY)).toBeUndefined();
  expect(expiryWarning(cert, pair, Date.now() + 17 * DAY)).toContain("expires within 13 days");
  expect(expiryWarning(cert, pair, Date.now() + 31 * DAY)).toContain("has expired");
});

test("a key with a passphrase is refused with what to do", async () => {
  openssl("pkey -in key.pem -aes256 -passout pass:x -out modern.pem");
  openssl("ec -in key.pem -aes256 -passout pass:x -out old.pem");
  for (const name of ["modern.pem", "old.pem"])
    expect(readCertificate({ cert, key: join(home, name) })).rejects.toThrow(
      /\(tls\.key\) is encrypted, and passphrases are not supported: .*openssl pkey/,
    );
});

test("a pair the wrong way round is refused with both keys named", () => {
  expect(readCertificate({ cert: key, key: cert })).rejects.toThrow(
    `tls.cert names a private key (${key}) and tls.key a certificate (${cert}): swap them`,
  );
});

test("a file that is not there is named with its setting", () => {
  expect(readCertificate({ cert, key: join(home, "none") })).rejects.toThrow(
    /cannot read tls\.key \(ENOENT.*name the right file with tls\.key or HOLDFAST_TLS_KEY/,
  );
});
