/** Names of the uploads in which other nodes keep what a node receives. No client can make one: it has no seal. */
import { randomHex } from "../../base/clock.ts";

const PREFIX = "shadow-";
const SHADOW = /^shadow-[0-9a-f]{40}$/;

/** The name, on every other node, of the bytes of upload `id`. */
export function shadowOf(id: string): string {
  return PREFIX + new Bun.CryptoHasher("sha256").update(id).digest("hex").slice(0, 40);
}

/** One for bytes that come in a single request. */
export function newShadow(): string {
  return PREFIX + randomHex(20);
}

export function isShadow(id: string): boolean {
  return SHADOW.test(id);
}
