/** What a node decides, and the sentences that it gives an operator. */
import { describe, expect, test } from "bun:test";
import { decide, type Decision } from "./decide.ts";
import { answerOf, heardBy, seatOf } from "./membership-fixture.ts";
import type { NodeAnswer, Proposal } from "./records.ts";

const NAMES = ["n1", "n2", "n3"];
const CLUSTER = "00000000000000cc";
const [n1, n2, n3] = NAMES.map((name) => answerOf(name, NAMES)) as [
  NodeAnswer,
  NodeAnswer,
  NodeAnswer,
];

let minted = 0;
const mint = (): string => (++minted).toString(16).padStart(16, "0");

function next(own: NodeAnswer, answers: readonly NodeAnswer[], isLost = false): Decision {
  return decide({ own, isLost, heard: heardBy(own, answers), mint });
}

/** What it waits for. */
function waiting(own: NodeAnswer, answers: readonly NodeAnswer[], isLost = false): string {
  const decision = next(own, answers, isLost);
  if (decision.kind !== "wait") throw new Error(`it does not wait, but: ${decision.kind}`);
  return decision.because;
}

const proposal: Proposal = {
  id: "00000000000000aa",
  cluster: CLUSTER,
  seats: [n1.seat, n2.seat, n3.seat],
  voters: NAMES,
};

const forming = (node: NodeAnswer, agreed = proposal): NodeAnswer => ({
  ...node,
  phase: "forming",
  cluster: agreed.cluster,
  proposal: agreed,
});
const member = (node: NodeAnswer, cluster = CLUSTER): NodeAnswer => ({
  ...node,
  phase: "member",
  cluster,
});
/** The same machine with an emptied disk. */
const emptied = (node: NodeAnswer): NodeAnswer =>
  answerOf(node.node, NAMES, { store: "ffffffffffffff00" });

describe("a cluster that begins with the records of a node", () => {
  const bringing = (node: NodeAnswer): NodeAnswer => ({
    ...node,
    seat: { ...node.seat, brings: true },
  });

  test("names it, and has it among those that begin", () => {
    const names = ["n1", "n2", "n3", "n4"];
    const [first, ...rest] = names.map((name) => answerOf(name, names)) as [
      NodeAnswer,
      ...NodeAnswer[],
    ];
    const decision = next(first, [...rest.slice(0, 2), ...rest.slice(2).map(bringing)]);
    if (decision.kind !== "agree") throw new Error(decision.kind);
    expect(decision.proposal.voters).toEqual(["n1", "n2", "n4"]);
    expect(decision.proposal.seats.map(({ brings }) => brings)).toEqual([
      undefined,
      undefined,
      undefined,
      true,
    ]);
  });

  test("is proposed anew when a node comes to bring some, or does not any more", () => {
    for (const [before, now] of [
      [n2, bringing(n2)],
      [bringing(n2), n2],
    ] as const) {
      const agreed = { ...proposal, seats: [n1.seat, before.seat, n3.seat] };
      const own = forming(n1, agreed);
      const decision = next(own, [forming(now, agreed), forming(n3, agreed)]);
      if (decision.kind !== "agree") throw new Error(decision.kind);
      expect(decision.proposal.id).not.toBe(agreed.id);
      expect(decision.proposal.cluster).toBe(agreed.cluster);
      expect(decision.proposal.seats[1]).toEqual(now.seat);
      expect(waiting(forming(now, agreed), [own, forming(n3, agreed)])).toBe(
        "n1 is about to propose the cluster",
      );
    }
  });

  test("has those of one only", () => {
    expect(next(n1, [bringing(n2), bringing(n3)])).toEqual({
      kind: "refuse",
      because:
        "n2 and n3 each have the records of a registry, and a cluster can begin with those of one: " +
        "let the others begin with another data directory",
    });
  });
});

describe("forming", () => {
  test("the first by name proposes all stores, once all are there", () => {
    const decision = next(n1, [n2, n3]);
    if (decision.kind !== "agree") throw new Error(decision.kind);
    expect(decision.proposal.seats).toEqual([n1.seat, n2.seat, n3.seat]);
    expect(decision.proposal.voters).toEqual(NAMES);
    expect(waiting(n2, [n1, n3])).toBe("n1 is about to propose the cluster");
  });

  test("the others agree, and each goes on when all have", () => {
    expect(next(n2, [forming(n1), n3])).toEqual({ kind: "agree", proposal });
    expect(waiting(forming(n1), [forming(n2), n3])).toBe("n3 has yet to agree to the cluster");
    expect(next(forming(n1), [forming(n2), forming(n3)])).toEqual({ kind: "form", proposal });
    const late = forming(n3);
    expect(next(late, [{ ...member(n1), proposal }, forming(n2)])).toEqual({
      kind: "form",
      proposal,
    });
  });

  test("names all that are missing, and why", () => {
    expect(waiting(n1, [n2])).toBe(
      "forming the cluster needs every one of its members: n3 is not there",
    );
    expect(waiting(forming(n2), [])).toContain("n1 is not there; n3 is not there");
  });

  test("an even number: the first of them begin, and the last joins", () => {
    const two = ["n1", "n2"];
    const [a, b] = two.map((name) => answerOf(name, two)) as [NodeAnswer, NodeAnswer];
    const decision = next(a, [b]);
    if (decision.kind !== "agree") throw new Error(decision.kind);
    const { proposal } = decision;
    expect(proposal.voters).toEqual(["n1"]);
    expect(waiting(forming(b, proposal), [forming(a, proposal)])).toContain("n1 begin the cluster");
    expect(next(forming(a, proposal), [forming(b, proposal)]).kind).toBe("form");
    const begun = { ...member(a), proposal };
    expect(next(forming(b, proposal), [begun]).kind).toBe("join");
  });

  test("a disk emptied meanwhile is proposed anew, under the same cluster", () => {
    const decision = next(forming(n1), [forming(n2), emptied(n3)]);
    if (decision.kind !== "agree") throw new Error(decision.kind);
    expect(decision.proposal).toMatchObject({ cluster: CLUSTER });
    expect(decision.proposal.id).not.toBe(proposal.id);
  });

  test("a majority emptied meanwhile may have held something", () => {
    const lost =
      `n1 was forming cluster ${CLUSTER} with n2, n3 before their data directories were emptied, and what they may ` +
      `have held is lost: bring those disks back, or, if there was nothing, remove cluster.json on n1`;
    expect(waiting(forming(n1), [emptied(n2), { ...emptied(n3), store: "ffffffffffffff01" }])).toBe(
      lost,
    );
  });

  test("lists that differ form nothing", () => {
    const other = answerOf("n2", ["n1", "n2"]);
    expect(waiting(n1, [other, n3])).toMatch(/^cluster\.members differs on n2: .* there, .* here$/);
    const { seeds: _, ...joining } = n2;
    expect(waiting(n1, [joining, n3])).toContain("n2 is told to join a cluster (cluster.join)");
  });
});

describe("a cluster that is there", () => {
  test("is joined by any member, whoever else is silent", () => {
    expect(next(emptied(n1), [member(n3)])).toEqual({
      kind: "join",
      cluster: CLUSTER,
      via: [n3.seat],
    });
    expect(next(emptied(n1), [forming(n2), member(n3)]).kind).toBe("join");
  });

  test("is not begun again by a store that it did not begin with", () => {
    const begun = { ...member(n1), proposal };
    expect(next(forming(emptied(n3)), [begun, n2]).kind).toBe("join");
  });

  test("is left to the operator where there are two", () => {
    expect(waiting(emptied(n1), [member(n2), member(n3, "00000000000000dd")])).toBe(
      `the seeds are members of different clusters: n2 of ${CLUSTER}, n3 of 00000000000000dd`,
    );
  });

  test("is waited for by a member whose etcd data are gone", () => {
    expect(waiting(member(n1), [forming(n2)], true)).toBe(
      "etcd's data are gone from this node, and no other member answers: n3 is not there",
    );
    expect(waiting(member(n1), [member(n2, "00000000000000dd")], true)).toContain(
      "n2 at n2:5080 is of another cluster, 00000000000000dd, and this node of 00000000000000cc",
    );
    expect(next(member(n1), [member(n2)], true).kind).toBe("join");
  });

  test("is waited for by who is told to join, who never forms one", () => {
    const { seeds: _, ...own } = n1;
    const asked = [{ seed: { address: n2.seat.address }, answer: n2 }];
    expect(decide({ own, isLost: false, heard: asked, mint })).toEqual({
      kind: "wait",
      because: "no node of cluster.join is a member yet",
    });
  });
});

describe("names and addresses", () => {
  const askedAs = (name: string, answer: NodeAnswer): Decision =>
    decide({
      own: n1,
      isLost: false,
      heard: [{ seed: { name, address: `${name}:5080` }, answer }],
      mint,
    });

  test("two nodes of one name", () => {
    const twin = { ...n1, store: "ffffffffffffff02", seat: seatOf("n1", "ffffffffffffff02") };
    expect(askedAs("n2", twin)).toEqual({
      kind: "wait",
      because: expect.stringContaining("n2:5080 is called n1 as this node is"),
    });
  });

  test("an address that is another node's", () => {
    expect(askedAs("n2", n3)).toEqual({
      kind: "wait",
      because: expect.stringContaining("n2:5080 is listed as n2 but calls itself n3"),
    });
  });

  test("an address that is this node's own", () => {
    expect(askedAs("n2", n1)).toEqual({
      kind: "refuse",
      because: expect.stringContaining("set cluster.node to n2 here"),
    });
  });
});
