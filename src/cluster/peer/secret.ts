/** The keys that every node of a cluster makes for itself from `cluster.secretFile`, all of them the same. */
import {
  createECDH,
  createPrivateKey,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from "node:crypto";

export interface ClusterKeys {
  /** P-256 private key of the cluster's certificate authority. */
  readonly authority: KeyObject;
  /** HMAC key of the tokens in which a caller names itself. */
  readonly token: KeyObject;
  /**
   * Eight hexadecimal characters, fit for messages: the same on all nodes that hold the same secret, and of no
   * help in finding it.
   */
  readonly fingerprint: string;
}

const SECRET_BYTES_MIN = 32;
const SALT = "holdfast cluster secret, version 1";
const CURVE = "prime256v1";
/** Order of the group of P-256 (FIPS 186-5, SP 800-186 §3.2.1.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
/** 64 bits more than the order has, so that the remainder is as good as evenly spread (FIPS 186-5 §A.2.1). */
const SCALAR_BYTES = 40;

/**
 * The keys of the secret in `secretText`, white space around it aside. Throws an error whose message is a sentence
 * for the operator when there is too little of it.
 */
export function clusterKeys(secretText: string): ClusterKeys {
  const secret = Buffer.from(secretText.trim(), "utf8");
  if (secret.byteLength < SECRET_BYTES_MIN)
    throw new Error(
      `cluster.secretFile holds ${secret.byteLength} bytes of secret, and at least ${SECRET_BYTES_MIN} are needed: ` +
        `write one with openssl rand -hex 32, and give the same file to every node`,
    );
  const derive = (label: string, bytes: number): Buffer =>
    Buffer.from(hkdfSync("sha256", secret, SALT, label, bytes));
  return {
    authority: authorityKey(derive("certificate authority", SCALAR_BYTES)),
    token: createSecretKey(derive("token", 32)),
    fingerprint: derive("fingerprint", 4).toString("hex"),
  };
}

function authorityKey(seed: Buffer): KeyObject {
  const scalar = (BigInt(`0x${seed.toString("hex")}`) % (ORDER - 1n)) + 1n;
  const d = Buffer.from(scalar.toString(16).padStart(64, "0"), "hex");
  const pair = createECDH(CURVE);
  pair.setPrivateKey(d);
  // Uncompressed: one byte of form, then both coordinates.
  const point = pair.getPublicKey();
  const [x, y] = [point.subarray(1, 33), point.subarray(33)];
  const text = (bytes: Buffer): string => bytes.toString("base64url");
  return createPrivateKey({
    format: "jwk",
    key: { kty: "EC", crv: "P-256", d: text(d), x: text(x), y: text(y) },
  });
}
