/** The compression functions of SHA-256 and SHA-512. Indexes stay within arrays of known length: `?? 0` only tells the compiler so. */

export interface HashFamily {
  /** Bytes of a block. */
  readonly block: number;
  /** The first state in words of 32 bits; those of SHA-512 are pairs, high half first. */
  initial(): Int32Array<ArrayBuffer>;
  compress(h: Int32Array, bytes: DataView, at: number): void;
}

export const SHA256: HashFamily = {
  block: 64,
  initial: () => constants().roots.filter((_, index) => index % 2 === 0),
  compress(h, bytes, at) {
    const { k256: k, words: w } = constants();
    for (let i = 0; i < 16; i++) w[i] = bytes.getInt32(at + i * 4);
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15] ?? 0;
      const y = w[i - 2] ?? 0;
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = ((w[i - 16] ?? 0) + s0 + (w[i - 7] ?? 0) + s1) | 0;
    }
    let a = h[0] ?? 0;
    let b = h[1] ?? 0;
    let c = h[2] ?? 0;
    let d = h[3] ?? 0;
    let e = h[4] ?? 0;
    let f = h[5] ?? 0;
    let g = h[6] ?? 0;
    let q = h[7] ?? 0;
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (q + s1 + ((e & f) ^ (~e & g)) + (k[i] ?? 0) + (w[i] ?? 0)) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      q = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    h[0] = (h[0] ?? 0) + a;
    h[1] = (h[1] ?? 0) + b;
    h[2] = (h[2] ?? 0) + c;
    h[3] = (h[3] ?? 0) + d;
    h[4] = (h[4] ?? 0) + e;
    h[5] = (h[5] ?? 0) + f;
    h[6] = (h[6] ?? 0) + g;
    h[7] = (h[7] ?? 0) + q;
  },
};

export const SHA512: HashFamily = {
  block: 128,
  initial: () => constants().roots.slice(),
  compress(h, bytes, at) {
    const { k512: k, words: w, state: v } = constants();
    for (let i = 0; i < 32; i++) w[i] = bytes.getInt32(at + i * 4);
    for (let i = 32; i < 160; i += 2) {
      const xh = w[i - 30] ?? 0;
      const xl = w[i - 29] ?? 0;
      const yh = w[i - 4] ?? 0;
      const yl = w[i - 3] ?? 0;
      const s0h = ((xh >>> 1) | (xl << 31)) ^ ((xh >>> 8) | (xl << 24)) ^ (xh >>> 7);
      const s0l = ((xl >>> 1) | (xh << 31)) ^ ((xl >>> 8) | (xh << 24)) ^ ((xl >>> 7) | (xh << 25));
      const s1h = ((yh >>> 19) | (yl << 13)) ^ ((yl >>> 29) | (yh << 3)) ^ (yh >>> 6);
      const s1l =
        ((yl >>> 19) | (yh << 13)) ^ ((yh >>> 29) | (yl << 3)) ^ ((yl >>> 6) | (yh << 26));
      const low = (s0l >>> 0) + (s1l >>> 0) + ((w[i - 31] ?? 0) >>> 0) + ((w[i - 13] ?? 0) >>> 0);
      w[i + 1] = low;
      w[i] = s0h + s1h + (w[i - 32] ?? 0) + (w[i - 14] ?? 0) + Math.floor(low / 2 ** 32);
    }
    v.set(h);
    for (let i = 0; i < 160; i += 2) {
      const ah = v[0] ?? 0;
      const al = v[1] ?? 0;
      const eh = v[8] ?? 0;
      const el = v[9] ?? 0;
      const s1h =
        ((eh >>> 14) | (el << 18)) ^ ((eh >>> 18) | (el << 14)) ^ ((el >>> 9) | (eh << 23));
      const s1l =
        ((el >>> 14) | (eh << 18)) ^ ((el >>> 18) | (eh << 14)) ^ ((eh >>> 9) | (el << 23));
      const chh = (eh & (v[10] ?? 0)) ^ (~eh & (v[12] ?? 0));
      const chl = (el & (v[11] ?? 0)) ^ (~el & (v[13] ?? 0));
      const t1l =
        ((v[15] ?? 0) >>> 0) +
        (s1l >>> 0) +
        (chl >>> 0) +
        ((k[i + 1] ?? 0) >>> 0) +
        ((w[i + 1] ?? 0) >>> 0);
      const t1h =
        ((v[14] ?? 0) + s1h + chh + (k[i] ?? 0) + (w[i] ?? 0) + Math.floor(t1l / 2 ** 32)) | 0;
      const s0h = ((ah >>> 28) | (al << 4)) ^ ((al >>> 2) | (ah << 30)) ^ ((al >>> 7) | (ah << 25));
      const s0l = ((al >>> 28) | (ah << 4)) ^ ((ah >>> 2) | (al << 30)) ^ ((ah >>> 7) | (al << 25));
      const bh = v[2] ?? 0;
      const bl = v[3] ?? 0;
      const ch = v[4] ?? 0;
      const cl = v[5] ?? 0;
      const t2l = (s0l >>> 0) + (((al & bl) ^ (al & cl) ^ (bl & cl)) >>> 0);
      const t2h = s0h + ((ah & bh) ^ (ah & ch) ^ (bh & ch)) + Math.floor(t2l / 2 ** 32);
      const newE = ((v[7] ?? 0) >>> 0) + (t1l >>> 0);
      const newEh = (v[6] ?? 0) + t1h + Math.floor(newE / 2 ** 32);
      v.copyWithin(2, 0, 14);
      v[8] = newEh;
      v[9] = newE;
      const newA = (t1l >>> 0) + (t2l >>> 0);
      v[0] = t1h + t2h + Math.floor(newA / 2 ** 32);
      v[1] = newA;
    }
    for (let i = 0; i < 16; i += 2) {
      const low = ((h[i + 1] ?? 0) >>> 0) + ((v[i + 1] ?? 0) >>> 0);
      h[i + 1] = low;
      h[i] = (h[i] ?? 0) + (v[i] ?? 0) + Math.floor(low / 2 ** 32);
    }
  },
};

interface Constants {
  /** Fractional parts of the square roots of the first 8 primes, 64 bits each. */
  readonly roots: Int32Array<ArrayBuffer>;
  /** Fractional parts of the cube roots of the first 80 primes, 64 bits each. */
  readonly k512: Int32Array<ArrayBuffer>;
  /** The upper halves of the first 64. */
  readonly k256: Int32Array<ArrayBuffer>;
  /** Room for the message schedule and the working variables: one block is under way at a time. */
  readonly words: Int32Array<ArrayBuffer>;
  readonly state: Int32Array<ArrayBuffer>;
}

let computed: Constants | undefined;

function constants(): Constants {
  if (computed !== undefined) return computed;
  const primes: bigint[] = [];
  for (let n = 2n; primes.length < 80; n++) {
    if (primes.every((prime) => n % prime !== 0n)) primes.push(n);
  }
  const k512 = halves(primes.map((prime) => root(prime << 192n, 3n)));
  computed = {
    roots: halves(primes.slice(0, 8).map((prime) => root(prime << 128n, 2n))),
    k512,
    k256: k512.filter((_, index) => index % 2 === 0).slice(0, 64),
    words: new Int32Array(160),
    state: new Int32Array(16),
  };
  return computed;
}

/** The largest integer whose power is not greater than `n`. */
function root(n: bigint, power: bigint): bigint {
  let found = 0n;
  for (let bit = 1n << 68n; bit > 0n; bit >>= 1n) {
    if ((found | bit) ** power <= n) found |= bit;
  }
  return found;
}

function halves(numbers: readonly bigint[]): Int32Array<ArrayBuffer> {
  return Int32Array.from(
    numbers.flatMap((n) => [Number((n >> 32n) & 0xffffffffn) | 0, Number(n & 0xffffffffn) | 0]),
  );
}
