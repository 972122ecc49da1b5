/** One digest for everything that the journal keeps. */
import { isJournaled } from "../meta/keys.ts";
import type { MetaStore } from "../meta/port.ts";
import { pages } from "../meta/pages.ts";

/** SHA-256, in hexadecimal, over every journaled key and its value in order. Nobody may commit meanwhile. */
export async function stateHash(store: MetaStore): Promise<string> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const { entries } of pages(store, ""))
    for (const { key, value } of entries)
      if (isJournaled(key)) hasher.update(`${JSON.stringify([key, value])}\n`);
  return hasher.digest("hex");
}
