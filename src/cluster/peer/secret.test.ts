import { createPublicKey, type KeyObject } from "node:crypto";
import { expect, test } from "bun:test";
import { OTHER_SECRET, SECRET } from "./peer-fixture.ts";
import { clusterKeys } from "./secret.ts";

const publicHex = (key: KeyObject): string =>
  createPublicKey(key).export({ type: "spki", format: "der" }).toString("hex");

test("the same secret gives the same keys, with white space around it or not", () => {
  const [a, b] = [clusterKeys(SECRET), clusterKeys(`  ${SECRET}\r\n`)];
  expect(publicHex(a.authority)).toBe(publicHex(b.authority));
  expect(a.token.export().equals(b.token.export())).toBe(true);
  expect(a.fingerprint).toBe(b.fingerprint);
});

test("the keys of a secret stay what they are: nodes of two versions of the program must agree", () => {
  const keys = clusterKeys(SECRET);
  const hash = new Bun.CryptoHasher("sha256").update(publicHex(keys.authority));
  hash.update(keys.token.export());
  expect([hash.digest("hex"), keys.fingerprint]).toMatchInlineSnapshot(`
    [
      "e3be0f99efccacce6e45b80f5cb114f802ad9193bd18fa156cd6b6d2f6c7fb8d",
      "81373fa9",
    ]
  `);
});

test("another secret gives other keys", () => {
  const [a, b] = [clusterKeys(SECRET), clusterKeys(OTHER_SECRET)];
  expect(publicHex(a.authority)).not.toBe(publicHex(b.authority));
  expect(a.token.export().equals(b.token.export())).toBe(false);
  expect(a.fingerprint).not.toBe(b.fingerprint);
  expect(a.fingerprint).toMatch(/^[0-9a-f]{8}$/);
});

test("too short a secret is refused with what to do, and is not told", () => {
  expect(() => clusterKeys("")).toThrow("cluster.secretFile holds 0 bytes of secret");
  const short = "s3cr3t".repeat(5);
  expect(() => clusterKeys(`${short}\n\n\n\n`)).toThrow(
    /^cluster\.secretFile holds 30 bytes of secret, .* openssl rand -hex 32, /,
  );
  expect(() => clusterKeys(short)).not.toThrow("s3cr3t");
  expect(clusterKeys("x".repeat(32)).fingerprint).toHaveLength(8);
});
