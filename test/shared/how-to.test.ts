/** docs/two-nodes.md, followed to the letter by an ordinary user. */
import { expect, test } from "bun:test";
import { describeWith } from "../clients/support/tools.ts";
import { follow } from "../support/how-to.ts";

describeWith(["nginx", "skopeo", "versitygw", "curl", "psql"], "the two-node how-to", () => {
  test("does what it says, from nothing to a rebuilt database", async () => {
    const { code, output, logs } = await follow({
      document: "two-nodes.md",
      // PostgreSQL's programs refuse to run as root.
      user: "postgres",
      patience: 200_000,
      logs: [1, 2].map((n) => `two-nodes/node${n}.log`),
    });
    expect(code, `${output}\n${logs}`).toBe(0);
    expect(output).toContain("Metadata and stored bytes agree.");
  });
});
