/**
 * SHA-256 and SHA-512 (FIPS 180-4) whose state can be written down and taken up by another process, which the
 * runtime's own cannot. About a tenth as fast: only for uploads that come in several requests.
 */
import { SHA256, SHA512, type HashFamily } from "./hash-families.ts";
import { makeDigest, type Algorithm, type Digest } from "../../oci/digest.ts";

export class ResumableHash {
  readonly #algorithm: Algorithm;
  readonly #family: HashFamily;
  readonly #h: Int32Array<ArrayBuffer>;
  /** The block under way. */
  readonly #block: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(algorithm: Algorithm) {
    this.#algorithm = algorithm;
    this.#family = algorithm === "sha256" ? SHA256 : SHA512;
    this.#block = new Uint8Array(this.#family.block);
    this.#h = this.#family.initial();
  }

  /** Goes on from a saved state. */
  static restore(algorithm: Algorithm, saved: string): ResumableHash {
    const hash = new ResumableHash(algorithm);
    const bytes = Uint8Array.fromBase64(saved);
    const view = new DataView(bytes.buffer);
    hash.#length = Number(view.getBigUint64(0));
    for (let i = 0; i < hash.#h.length; i++) hash.#h[i] = view.getInt32(8 + i * 4);
    hash.#block.set(bytes.subarray(8 + hash.#h.length * 4));
    return hash;
  }

  /** The state, in base64. */
  save(): string {
    const kept = this.#length % this.#block.length;
    const bytes = new Uint8Array(8 + this.#h.length * 4 + kept);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(this.#length));
    for (const [i, word] of this.#h.entries()) view.setInt32(8 + i * 4, word);
    bytes.set(this.#block.subarray(0, kept), 8 + this.#h.length * 4);
    return bytes.toBase64();
  }

  update(bytes: Uint8Array): void {
    const size = this.#block.length;
    const filled = this.#length % size;
    this.#length += bytes.length;
    let at = 0;
    if (filled > 0) {
      at = Math.min(size - filled, bytes.length);
      this.#block.set(bytes.subarray(0, at), filled);
      if (filled + at < size) return;
      this.#compress(this.#block, 0, size);
    }
    const whole = bytes.length - ((bytes.length - at) % size);
    this.#compress(bytes, at, whole);
    this.#block.set(bytes.subarray(whole));
  }

  /** Ends the hash. */
  digest(): Digest {
    const { block } = this.#family;
    const bits = BigInt(this.#length) * 8n;
    const filled = this.#length % block;
    // One byte at least, and an eighth of a block for the length, up to the end of a block.
    const padding = new Uint8Array((filled + 1 + block / 8 > block ? 2 : 1) * block - filled);
    padding[0] = 0x80;
    new DataView(padding.buffer).setBigUint64(padding.length - 8, bits);
    this.update(padding);
    let hex = "";
    for (const half of this.#h) hex += (half >>> 0).toString(16).padStart(8, "0");
    return makeDigest(this.#algorithm, hex);
  }

  #compress(bytes: Uint8Array, from: number, to: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const { block } = this.#family;
    for (let at = from; at < to; at += block) this.#family.compress(this.#h, view, at);
  }
}
