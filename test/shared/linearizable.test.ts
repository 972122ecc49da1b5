import { describe, expect, test } from "bun:test";
import { randomOf } from "../support/random.ts";
import { isLinearizable, type Action, type Operation } from "./support/linearizable.ts";

const at = (start: number, end: number, action: Action): Operation => ({ start, end, action });
const lost = (start: number, action: Action): Operation => ({
  start,
  end: Infinity,
  action,
  unknown: true,
});
const read = (value: string | undefined): Action => ({ kind: "read", value });
const write = (value: string): Action => ({ kind: "write", value });
const remove = (existed: boolean): Action => ({ kind: "delete", existed });
const swap = (expected: string | undefined, value: string, succeeded: boolean): Action => ({
  kind: "swap",
  expected,
  value,
  succeeded,
});

const GOOD: Record<string, Operation[]> = {
  nothing: [],
  "one after another": [at(0, 1, write("a")), at(2, 3, read("a")), at(4, 5, remove(true))],
  "absent at first": [at(0, 1, read(undefined)), at(2, 3, remove(false))],
  "a read beside a write sees either": [
    at(0, 10, write("a")),
    at(1, 2, read(undefined)),
    at(3, 4, read("a")),
  ],
  "writes at once in the order that reads saw": [
    at(0, 10, write("a")),
    at(0, 10, write("b")),
    at(11, 12, read("a")),
    at(13, 14, read("a")),
  ],
  "a write without an answer that was seen, late": [
    lost(0, write("a")),
    at(1, 2, read(undefined)),
    at(50, 51, read("a")),
  ],
  "a write without an answer that never happened": [lost(0, write("a")), at(1, 2, read(undefined))],
  "a delete without an answer": [
    at(0, 1, write("a")),
    lost(2, remove(true)),
    at(3, 4, read("a")),
    at(5, 6, read(undefined)),
  ],
  "of two swaps one succeeds": [
    at(0, 1, write("a")),
    at(2, 9, swap("a", "b", true)),
    at(2, 9, swap("a", "c", false)),
    at(10, 11, read("b")),
  ],
  "a swap fails because of a write without an answer": [
    at(0, 1, write("a")),
    lost(2, write("b")),
    at(3, 4, swap("a", "c", false)),
  ],
};

const BAD: Record<string, Operation[]> = {
  "a write that was lost": [at(0, 1, write("a")), at(2, 3, read(undefined))],
  "a stale read": [
    at(0, 1, write("a")),
    at(2, 3, write("b")),
    at(4, 5, read("b")),
    at(6, 7, read("a")),
  ],
  "a value from nowhere": [at(0, 1, read("a"))],
  "reads that go back": [
    at(0, 10, write("a")),
    at(0, 10, write("b")),
    at(11, 12, read("a")),
    at(13, 14, read("b")),
  ],
  "a read that is ahead of its write": [at(0, 1, read("a")), at(2, 3, write("a"))],
  "a delete that came back": [at(0, 1, write("a")), at(2, 3, remove(true)), at(4, 5, read("a"))],
  "a delete of what was there found nothing": [at(0, 1, write("a")), at(2, 3, remove(false))],
  "two swaps from one value": [
    at(0, 1, write("a")),
    at(2, 9, swap("a", "b", true)),
    at(2, 9, swap("a", "c", true)),
  ],
  "a swap that failed without a reason": [at(0, 1, write("a")), at(2, 3, swap("a", "b", false))],
  "a write without an answer happens at most once": [
    lost(0, write("a")),
    at(1, 2, read("a")),
    at(3, 4, write("b")),
    at(5, 6, read("b")),
    at(7, 8, read("a")),
  ],
};

describe("the checker of histories", () => {
  test.each(Object.entries(GOOD))("accepts %s", (_, history) => {
    expect(isLinearizable(history)).toBe(true);
  });

  test.each(Object.entries(BAD))("refuses %s", (_, history) => {
    expect(isLinearizable(history)).toBe(false);
  });

  test("accepts what a register really did, and refuses it with one read gone wrong", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const history = simulated(seed);
      expect(isLinearizable(history)).toBe(true);
      const wrong = history.map((operation, i) =>
        i === 150 ? at(operation.start, operation.end, read("never written")) : operation,
      );
      expect(isLinearizable(wrong)).toBe(false);
    }
  });
});

/** Eight clients of a register that does everything at one moment; of some the answer is lost. */
function simulated(seed: number): Operation[] {
  const random = randomOf(seed);
  let value: string | undefined;
  const history: Operation[] = [];
  const free = Array.from({ length: 8 }, () => 0);
  for (let n = 0; n < 300; n++) {
    const moment = n * 10;
    const client = random.int(8);
    const start = Math.max(free[client] ?? 0, moment - random.int(60));
    if (start > moment) continue;
    const end = moment + 1 + random.int(60);
    free[client] = end + 1;
    let action: Action;
    const before = value;
    switch (random.int(4)) {
      case 0:
        value = `v${n}`;
        action = write(value);
        break;
      case 1:
        action = remove(value !== undefined);
        value = undefined;
        break;
      case 2: {
        const expected = random.chance(0.5) ? value : `v${n - 3}`;
        const succeeded = expected === value;
        action = swap(expected, `v${n}`, succeeded);
        if (succeeded) value = `v${n}`;
        break;
      }
      default:
        action = read(value);
    }
    if (!random.chance(0.05)) history.push(at(start, end, action));
    else if (random.chance(0.5)) history.push(lost(start, action));
    else {
      // This one never reached the register.
      value = before;
      history.push(lost(start, action));
    }
  }
  return history;
}
