/** Chance that can be had again: everything follows from the seed. */
export interface Random {
  /** 0 to `below` - 1. */
  int(below: number): number;
  /** One of them; throws for none. */
  pick<T>(from: readonly T[]): T;
  chance(probability: number): boolean;
  /** A new order of them. */
  shuffled<T>(list: readonly T[]): T[];
}

/** HOLDFAST_TEST_SEED, or a new seed, which is printed so that a failure can be replayed. */
export function seedOf(test: string): number {
  const given = process.env["HOLDFAST_TEST_SEED"];
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  console.log(`${test}: replay with HOLDFAST_TEST_SEED=${seed}`);
  return seed;
}

export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    // A counter, mixed as MurmurHash3 finishes.
    state = (state + 0x9e37_79b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85eb_ca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
  const int = (below: number): number => Math.floor(next() * below);
  return {
    int,
    pick<T>(from: readonly T[]): T {
      if (from.length === 0) throw new Error("nothing to pick from");
      return from[int(from.length)] as T;
    },
    chance: (probability) => next() < probability,
    shuffled<T>(list: readonly T[]): T[] {
      const rest = [...list];
      const out: T[] = [];
      while (rest.length > 0) out.push(...rest.splice(int(rest.length), 1));
      return out;
    },
  };
}
