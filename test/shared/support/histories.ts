/** What the recorded histories of tags must be like. */
import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Action, isLinearizable, type Operation } from "./linearizable.ts";

/** Of each tag, and all together they show all that can be seen of one. */
export function expectLinearizable(history: ReadonlyMap<string, readonly Operation[]>): void {
  for (const [tag, operations] of history) {
    const unknown = operations.filter((operation) => operation.unknown).length;
    console.log(`${tag}: ${operations.length} operations, ${unknown} without an answer`);
    const fine = isLinearizable(operations);
    if (!fine)
      writeFileSync(join(tmpdir(), `holdfast-history-${tag}.json`), JSON.stringify(operations));
    expect({ tag, fine }).toEqual({ tag, fine: true });
  }
  expect(history.size).toBe(4);
  expect(kindsOf([...history.values()].flat())).toBe(7);
}

/** How many of the seven things that can be seen of a tag were seen. */
function kindsOf(operations: readonly Operation[]): number {
  const seen = operations.filter(({ unknown }) => unknown !== true);
  return new Set(seen.map(({ action }) => kindOf(action))).size;
}

function kindOf(action: Action): string {
  switch (action.kind) {
    case "read":
      return `read ${action.value !== undefined}`;
    case "write":
      return "write";
    case "delete":
      return `delete ${action.existed}`;
    case "swap":
      return `swap ${action.succeeded}`;
    default:
      return action satisfies never;
  }
}
