/** Base58check: the alphabet without 0, O, I and l, a version byte in front and 4 bytes of double SHA-256 behind. */

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const CHECKSUM_BYTES = 4;

export type Base58Check =
  | { readonly version: number; readonly bytes: Uint8Array }
  /** `character`: one that is not of the alphabet, at `at` (from 0). `checksum`: it does not fit the rest. */
  | { readonly bad: "character"; readonly at: number }
  | { readonly bad: "checksum" };

/** Decodes `text`, whose length the caller has bounded: the work grows with its square. */
export function decodeBase58Check(text: string): Base58Check {
  // Base 256, least significant byte first.
  const number: number[] = [];
  for (let at = 0; at < text.length; at++) {
    let carry = ALPHABET.indexOf(text.charAt(at));
    if (carry < 0) return { bad: "character", at };
    for (let i = 0; i < number.length; i++) {
      carry += (number[i] ?? 0) * 58;
      number[i] = carry & 0xff;
      carry >>= 8;
    }
    if (carry > 0) number.push(carry);
  }
  const zeros = /^1*/.exec(text)?.[0].length ?? 0;
  const all = new Uint8Array(zeros + number.length);
  all.set(number.reverse(), zeros);

  const payload = all.subarray(0, Math.max(0, all.length - CHECKSUM_BYTES));
  const version = payload[0];
  if (version === undefined) return { bad: "checksum" };
  const expected = base58Checksum(payload);
  return all.subarray(payload.length).every((byte, i) => byte === expected[i])
    ? { version, bytes: payload.slice(1) }
    : { bad: "checksum" };
}

/** The 4 bytes that close version byte and content. */
export function base58Checksum(payload: Uint8Array): Uint8Array {
  return sha256(sha256(payload)).subarray(0, CHECKSUM_BYTES);
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Bun.CryptoHasher("sha256").update(bytes).digest();
}
