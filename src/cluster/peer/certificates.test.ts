import { X509Certificate, createPrivateKey } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "bun:test";
import { ClusterCertificates } from "./certificates.ts";
import { OTHER_SECRET, SECRET } from "./peer-fixture.ts";
import { clusterKeys } from "./secret.ts";

const home = mkdtempSync(join(tmpdir(), "holdfast-peer-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const DAY_MS = 86_400_000;
const make = (node: string, secret = SECRET, hosts: readonly string[] = []): ClusterCertificates =>
  new ClusterCertificates({ keys: clusterKeys(secret), node, hosts });

/** What OpenSSL, strict about RFC 5280, says of a certificate by that authority. */
function verify(ca: string, cert: string, ...more: readonly string[]): string {
  const [caFile, certFile] = [join(home, "verify-ca.pem"), join(home, "verify-cert.pem")];
  writeFileSync(caFile, ca);
  writeFileSync(certFile, cert);
  const args = ["verify", "-x509_strict", ...more, "-CAfile", caFile, certFile];
  const { stdout, stderr } = Bun.spawnSync(["openssl", ...args]);
  return stdout.toString() + stderr.toString();
}

test("a certificate of one node holds against the authority of another, as server and as client", () => {
  using a = make("n1");
  using b = make("n2");
  for (const purpose of ["sslserver", "sslclient"])
    expect(verify(a.current().ca, b.current().cert, "-purpose", purpose)).toContain(": OK");
  expect(verify(a.current().ca, a.current().ca)).toContain(": OK");
  using other = make("n3", OTHER_SECRET);
  expect(verify(other.current().ca, b.current().cert)).toContain("unable to get local issuer");
});

test("it names the node and its hosts, is valid from yesterday for 90 days, and goes with its key", () => {
  const hosts = ["10.0.0.1", "fd00::a:1", "::ffff:192.0.2.7", "n1.example.com", "localhost"];
  using certificates = make("n1", SECRET, hosts);
  const { cert, key, ca } = certificates.current();
  const leaf = new X509Certificate(cert);
  expect(leaf.subject).toBe("CN=n1");
  expect(leaf.ca).toBe(false);
  expect(leaf.checkPrivateKey(createPrivateKey(key))).toBe(true);
  expect(leaf.subjectAltName).toBe(
    "IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:A:1, IP Address:0:0:0:0:0:FFFF:C000:207, " +
      "DNS:n1.example.com, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:holdfast-peer",
  );
  const ago = (text: string): number => (Date.parse(text) - Date.now()) / DAY_MS;
  expect(ago(leaf.validFrom)).toBeCloseTo(-1, 2);
  expect(ago(leaf.validTo)).toBeCloseTo(90, 2);
  for (const host of ["10.0.0.1", "n1.example.com", "holdfast-peer"])
    expect(
      verify(ca, cert, host.startsWith("10.") ? "-verify_ip" : "-verify_hostname", host),
    ).toContain(": OK");
  const authority = new X509Certificate(ca);
  expect([authority.ca, authority.validTo]).toEqual([true, "Jan  1 00:00:00 2120 GMT"]);
});

test("it is renewed when less than a third of its time is left, and who wants to know is told", () => {
  let now = Date.now();
  const options = { keys: clusterKeys(SECRET), node: "n1", hosts: [], clock: { now: () => now } };
  using certificates = new ClusterCertificates(options);
  let renewals = 0;
  const forget = certificates.onRenewed(() => renewals++);
  const first = certificates.current();
  now += 60 * DAY_MS;
  certificates.renewIfDue();
  expect([renewals, certificates.current() === first]).toEqual([0, true]);
  now += 1000;
  certificates.renewIfDue();
  expect(renewals).toBe(1);
  expect(certificates.current().cert).not.toBe(first.cert);
  expect(certificates.current().key).not.toBe(first.key);
  expect(certificates.validTo).toBe(now + 90 * DAY_MS);
  forget();
  certificates.renew();
  expect(renewals).toBe(1);
});

test("the files for etcd are its owner's alone, and replaced by a renewal", async () => {
  using certificates = make("n1");
  const directory = join(home, "etcd-tls");
  const files = await certificates.writePem(directory);
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  for (const [path, text] of [
    [files.ca, certificates.current().ca],
    [files.cert, certificates.current().cert],
    [files.key, certificates.current().key],
  ] as const) {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "utf8")).toBe(text);
  }
  // Left by a write that was cut short, readable by all.
  writeFileSync(`${files.key}.new`, "cut", { mode: 0o644 });
  certificates.renew();
  expect(await certificates.writePem(directory)).toEqual(files);
  expect(readFileSync(files.key, "utf8")).toBe(certificates.current().key);
  expect(statSync(files.key).mode & 0o777).toBe(0o600);
});
