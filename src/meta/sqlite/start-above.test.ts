import { expect, test } from "bun:test";
import { RevisionCompacted, StoreUnavailable } from "../port.ts";
import { openWriter } from "./index.ts";
import { temporaryPlace } from "./processes/spawn.ts";

const put = (key: string) => ({ put: [{ key, value: "{}" }] });

test("an empty store starts above a revision, once opened with keys it refuses to", async () => {
  const place = temporaryPlace();
  const { path } = place;
  const first = openWriter({ path, above: 5000 });
  expect(first.revision).toBe(5000);
  await first.close();
  // Still empty: lower changes nothing, higher counts.
  const lower = openWriter({ path, above: 10 });
  expect(lower.revision).toBe(5000);
  await lower.close();
  const store = openWriter({ path, above: 2 ** 40 });
  expect(await store.commit(put("a"))).toEqual({ ok: true, revision: 2 ** 40 + 1 });
  expect((await store.get(["a"])).entries[0]?.version).toBe(2 ** 40 + 1);
  const early = store.watch({ prefix: "", after: 5000, signal: AbortSignal.timeout(1000) });
  expect(await Array.fromAsync(early).catch((error: unknown) => error)).toBeInstanceOf(
    RevisionCompacted,
  );
  await store.close();
  expect(() => openWriter({ path, above: 2 ** 41 })).toThrow(StoreUnavailable);
  const again = openWriter({ path });
  expect(again.revision).toBe(2 ** 40 + 1);
  // Emptied, it may start over, and no revision comes twice.
  await again.commit({ delete: ["a"] });
  await again.close();
  const over = openWriter({ path, above: 7 });
  expect(await over.commit(put("b"))).toEqual({ ok: true, revision: 2 ** 40 + 3 });
  await over.close();
  place.remove();
});
