import { expect, test } from "bun:test";
import { OTHER_SECRET, SECRET } from "./peer-fixture.ts";
import { clusterKeys } from "./secret.ts";
import { signToken, verifyToken } from "./token.ts";

const keys = clusterKeys(SECRET);
const NOW = 1_800_000_000_000;

const refusal = (token: string | null, now = NOW): string => {
  const verdict = verifyToken(keys, token, now);
  return "refusal" in verdict ? verdict.refusal : `accepted as ${verdict.node}`;
};

test("a token tells who signed it, for five minutes in either direction", () => {
  const token = signToken(keys, "n1", NOW);
  for (const skew of [0, 300_000, -300_000])
    expect(verifyToken(keys, token, NOW + skew)).toEqual({ node: "n1" });
  expect(refusal(token, NOW + 412_000)).toBe(
    "the clock of node n1 is 412 s behind this node's, and at most 300 s are tolerated: let NTP set the clocks of both",
  );
  expect(refusal(token, NOW - 300_600)).toContain("301 s ahead of this node's");
  expect(signToken(keys, "n1", NOW)).not.toBe(token);
});

test("whatever is changed in a token, it is refused as not of this secret", () => {
  const token = signToken(keys, "n1", NOW);
  for (let at = 0; at < token.length - 1; at++) {
    const changed = `${token.slice(0, at)}${token[at] === "1" ? "2" : "1"}${token.slice(at + 1)}`;
    expect(refusal(changed)).toContain("not signed with this cluster's secret");
  }
  for (const broken of [
    "",
    ".",
    "n1",
    "n1..",
    "....",
    token.slice(0, -1),
    `${token}AAAA`,
    "\u{1F511}",
  ])
    expect(refusal(broken)).toContain("not signed with this cluster's secret");
});

test("no token, one of another secret and one without a name are told apart", () => {
  expect(refusal(null)).toBe("the request has no header holdfast-node-token");
  expect(refusal(signToken(clusterKeys(OTHER_SECRET), "n1", NOW))).toContain(keys.fingerprint);
  expect(refusal(signToken(keys, "N 1", NOW))).toBe('"N 1" is no name of a node');
  expect(refusal(signToken(keys, "n1", Number.NaN))).not.toContain("accepted");
});
