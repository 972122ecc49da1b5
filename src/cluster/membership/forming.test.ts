/**
 * Nodes of one seed list under any timing: answers that arrive late, processes that restart in the middle of a round,
 * machines that are silent, and disks that are emptied. The model is of disks, rounds and answers only; what a node
 * does next is `decide`.
 */
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { decide, type Decision } from "./decide.ts";
import { answerOf } from "./membership-fixture.ts";
import type { NodeAnswer, Proposal } from "./records.ts";
import type { Heard } from "./witnesses.ts";

interface Round {
  /** Answers so far, by the name of who was asked. */
  readonly answers: Map<string, Heard["answer"]>;
}

/** Its disk, and the round that its process is in. */
interface Node {
  disk: NodeAnswer;
  /** Ids of the proposal under which its etcd runs, which is a voter of that. */
  votes: string | undefined;
  round: Round | undefined;
  isSilent: boolean;
}

class Model {
  readonly names: readonly string[];
  readonly nodes = new Map<string, Node>();
  /** Clusters that any node was a member of since all were empty. */
  readonly clusters = new Set<string>();
  /** Proposals whose etcd had a majority at one time, and so could take data, since all were empty. */
  readonly served = new Set<string>();
  readonly #proposals = new Map<string, Proposal>();
  /** Voters and learners of each cluster that runs, by store. */
  readonly #etcd = new Map<string, Set<string>>();
  #minted = 0;

  constructor(size: number) {
    this.names = Array.from({ length: size }, (_, i) => `n${i + 1}`);
    for (const name of this.names) this.nodes.set(name, this.#fresh(name));
  }

  node(name: string): Node {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(name);
    return node;
  }

  readonly mint = (): string => (++this.#minted).toString(16).padStart(16, "0");

  #fresh(name: string): Node {
    const disk = answerOf(name, this.names, { store: this.mint() });
    return { disk, votes: undefined, round: undefined, isSilent: false };
  }

  empty(name: string): void {
    this.nodes.set(name, this.#fresh(name));
    if ([...this.nodes.values()].some(({ disk }) => disk.phase !== "empty")) return;
    this.clusters.clear();
    this.served.clear();
  }

  silence(name: string, isSilent: boolean): void {
    this.node(name).isSilent = isSilent;
  }

  restart(name: string): void {
    this.node(name).round = undefined;
  }

  /** Begins a round where none is under way; `other` answers it now, and the asker decides no sooner than it has all. */
  ask(name: string, other: string): void {
    const node = this.node(name);
    if (node.isSilent || node.disk.phase === "member") return;
    node.round ??= { answers: new Map() };
    if (name === other || node.round.answers.has(other)) return;
    const { disk, isSilent } = this.node(other);
    node.round.answers.set(other, isSilent ? { failure: `${other} is not there` } : disk);
  }

  /** Ends a complete round. */
  conclude(name: string): Decision | undefined {
    const node = this.node(name);
    const { round, disk: own } = node;
    if (round === undefined || round.answers.size < this.names.length - 1) return undefined;
    node.round = undefined;
    const heard = [...round.answers].map(([other, answer]) => ({
      seed: { name: other, address: `${other}:5080` },
      answer,
    }));
    const decision = decide({ own, isLost: false, heard, mint: this.mint });
    this.#follow(node, decision);
    return decision;
  }

  #follow(node: Node, decision: Decision): void {
    if (decision.kind === "agree") {
      const { proposal } = decision;
      this.#proposals.set(proposal.id, proposal);
      node.disk = { ...node.disk, phase: "forming", cluster: proposal.cluster, proposal };
    } else if (decision.kind === "form") {
      const { proposal } = decision;
      node.disk = { ...node.disk, phase: "member", cluster: proposal.cluster, proposal };
      node.votes = proposal.id;
      const stores = proposal.seats.filter(({ name }) => proposal.voters.includes(name));
      if (!this.#etcd.has(proposal.id))
        this.#etcd.set(proposal.id, new Set(stores.map(({ store }) => store)));
      this.clusters.add(proposal.cluster);
      if (this.#hasMajority(proposal.id)) this.served.add(proposal.id);
    } else if (decision.kind === "join") {
      this.#join(
        node,
        decision.via.map(({ name }) => name),
      );
    }
  }

  /** Lets the node in by a member with a majority, as a voter in the place of its dead one. */
  #join(node: Node, via: readonly string[]): void {
    for (const name of via) {
      const { disk, votes, isSilent } = this.node(name);
      if (isSilent || votes === undefined || !this.#hasMajority(votes)) continue;
      const stores = this.#etcd.get(votes);
      const first = this.#proposals.get(votes);
      const dead = [...(stores ?? [])].find((store) =>
        this.#isDeadOf(store, node.disk.node, first),
      );
      if (dead !== undefined) stores?.delete(dead);
      stores?.add(node.disk.store);
      node.disk = { ...node.disk, phase: "member", cluster: disk.cluster, proposal: undefined };
      node.votes = votes;
      if (disk.cluster !== undefined) this.clusters.add(disk.cluster);
      return;
    }
  }

  #isDeadOf(store: string, name: string, first: Proposal | undefined): boolean {
    const seat = first?.seats.find((s) => s.store === store);
    return seat?.name === name;
  }

  #hasMajority(id: string): boolean {
    const stores = this.#etcd.get(id) ?? new Set();
    const living = [...this.nodes.values()].filter(
      ({ disk, votes, isSilent }) => !isSilent && votes === id && stores.has(disk.store),
    );
    return living.length > stores.size / 2;
  }

  /** Everybody asks everybody, in turns, until nothing happens any more. */
  settle(): void {
    for (const node of this.nodes.values()) {
      node.isSilent = false;
      node.round = undefined;
    }
    for (let turn = 0; turn < 12; turn++)
      for (const name of this.names) {
        for (const other of this.names) this.ask(name, other);
        this.conclude(name);
      }
  }
}

const ACTS = {
  round(model: Model, name: string): void {
    ACTS.askAll(model, name);
    model.conclude(name);
  },
  askAll(model: Model, name: string): void {
    for (const other of model.names) model.ask(name, other);
  },
  ask: (model: Model, name: string, other: string): void => model.ask(name, other),
  conclude(model: Model, name: string): void {
    model.conclude(name);
  },
  restart: (model: Model, name: string): void => model.restart(name),
  silence: (model: Model, name: string): void => model.silence(name, true),
  speak: (model: Model, name: string): void => model.silence(name, false),
  empty: (model: Model, name: string): void => model.empty(name),
};

type Step = readonly [act: keyof typeof ACTS, from: number, to: number];

function take(model: Model, [act, from, to]: Step): void {
  const size = model.names.length;
  ACTS[act](model, model.names[from % size] ?? "", model.names[to % size] ?? "");
}

/** Mostly undisturbed, or nothing would ever come about that could be disturbed. */
const WEIGHTS = {
  round: 30,
  askAll: 12,
  ask: 4,
  conclude: 16,
  restart: 1,
  silence: 1,
  speak: 5,
} as const;

/** `emptied`: how often a disk is, beside the other weights. */
function steps(emptied: number, maxLength: number): fc.Arbitrary<Step[]> {
  const acts = Object.entries({ ...WEIGHTS, empty: emptied }).map(([act, weight]) => ({
    weight,
    arbitrary: fc.constant(act as keyof typeof ACTS),
  }));
  const step = fc.tuple(fc.oneof(...acts), fc.nat(59), fc.nat(59));
  return fc.array(step, { maxLength, size: "max" });
}

function check(size: number, taken: readonly Step[]): void {
  const model = new Model(size);
  for (const [at, step] of taken.entries()) {
    take(model, step);
    // A disk that was emptied took what it had with it; of what is left there is one cluster, and one etcd.
    const voting = [...model.nodes.values()].flatMap(({ votes }) => votes ?? []);
    expect({ at, ids: new Set(voting).size }).toEqual({ at, ids: Math.min(1, voting.length) });
    expect({ at, clusters: model.clusters.size <= 1 }).toEqual({ at, clusters: true });
    expect({ at, served: model.served.size <= 1 }).toEqual({ at, served: true });
  }
}

test.each([1, 2, 3, 5])("%i nodes: at most one cluster, whatever the timing", (size) => {
  fc.assert(
    fc.property(steps(6, 100), (taken) => check(size, taken)),
    { numRuns: 4000 },
  );
});

test.each([1, 3, 4, 5])("%i nodes form one cluster once all answer", (size) => {
  fc.assert(
    fc.property(steps(0, 60), (before) => {
      const model = new Model(size);
      for (const step of before) take(model, step);
      model.settle();
      const phases = [...model.nodes.values()].map(({ disk }) => disk.phase);
      expect(phases).toEqual(model.names.map(() => "member"));
      expect(model.clusters.size).toBe(1);
    }),
    { numRuns: 1000 },
  );
});

test("a majority that was emptied never forms a cluster beside the node that is left", () => {
  const after = steps(0, 80).map((taken) =>
    taken.filter(([act]) => act !== "silence" && act !== "speak"),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(3, 5),
      steps(2, 40),
      fc.nat(4),
      fc.boolean(),
      after,
      (size, before, survivor, isSilent, then) => {
        const model = new Model(size);
        for (const step of before) take(model, step);
        model.settle();
        const left = model.names[survivor % size] ?? "";
        if (model.node(left).disk.phase !== "member") return;
        for (const name of model.names) if (name !== left) model.empty(name);
        model.node(left).isSilent = isSilent;
        for (const step of then) {
          take(model, step);
          for (const name of model.names)
            if (name !== left) expect(model.node(name).disk.phase).not.toBe("member");
        }
      },
    ),
    { numRuns: 1000 },
  );
});
