/** docs/three-nodes.md, followed to the letter by an ordinary user: its loops end when the registry is as they say. */
import { expect, test } from "bun:test";
import { describeWith } from "../clients/support/tools.ts";
import { follow } from "../support/how-to.ts";

describeWith(["etcd", "curl", "openssl", "pgrep"], "the three-node how-to", () => {
  test("does what it says, from nothing to a cluster that was lost and restored", async () => {
    const { code, output, logs, left } = await follow({
      document: "three-nodes.md",
      user: "nobody",
      patience: 220_000,
      logs: [1, 2, 3].map((n) => `three-nodes/node${n}.log`),
    });
    expect(code, `${output}\n${logs}`).toBe(0);
    expect(left).toEqual([]);
  }, 240_000);
});
