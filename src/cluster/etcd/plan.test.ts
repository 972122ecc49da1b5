import { describe, expect, test } from "bun:test";
import { healthOf, type EtcdMemberHealth } from "./health.ts";
import type { EtcdMemberStatus } from "./members.ts";
import {
  candidates,
  defragmentationTurn,
  hasRoomAgain,
  isWorthDefragmenting,
  votersFor,
} from "./plan.ts";

const MIB = 2 ** 20;
const QUOTA = 1024 * MIB;

const member = (
  id: string,
  status: Partial<EtcdMemberStatus> | undefined = {},
  isLearner = false,
): EtcdMemberHealth => ({
  id,
  name: `n${id}`,
  peerUrls: [],
  clientUrls: [],
  isLearner,
  status: {
    id,
    version: "3.4.23",
    dbBytes: 0,
    dbBytesInUse: 0,
    leader: "1",
    raftIndex: 0,
    raftAppliedIndex: 0,
    isLearner,
    alarms: [],
    errors: [],
    ...status,
  },
});
const silent = (id: string): EtcdMemberHealth => ({ ...member(id), status: undefined });
const lost = member("2", { leader: undefined });

test("voters: 1, 3 or 5, never more than there are nodes", () => {
  expect([0, 1, 2, 3, 4, 5, 6, 100].map(votersFor)).toEqual([1, 1, 1, 3, 3, 5, 5, 5]);
});

test("learners vote while there are seats", () => {
  const learners = [member("8", {}, true), member("9", {}, true)];
  const all = [member("1"), member("2"), ...learners];
  const ids = (voters: number) => candidates(all, voters).map(({ id }) => id);
  expect([ids(1), ids(2), ids(3), ids(5)]).toEqual([[], [], ["8"], ["8", "9"]]);
});

describe("quorum", () => {
  const leader = (...members: EtcdMemberHealth[]) => healthOf(members, "n1").leader;

  test("is a majority of the voters that follow one leader", () => {
    expect(leader(member("1"), member("2"), silent("3"))).toBe("1");
    expect(leader(member("1"), lost, silent("3"))).toBeUndefined();
    expect(leader(member("1"), member("2", { leader: "2" }))).toBeUndefined();
    expect(leader()).toBeUndefined();
  });

  test("is not made by learners", () => {
    expect(leader(member("1"), member("2", {}, true), silent("3"))).toBeUndefined();
    expect(leader(member("1"), member("2", {}, true))).toBe("1");
  });

  test("own member and alarms are found", () => {
    const alarmed = member("2", { alarms: ["NOSPACE"] });
    const health = healthOf([member("1"), alarmed, alarmed], "n2");
    expect(health.own?.id).toBe("2");
    expect(health.alarms).toEqual(["NOSPACE"]);
    expect(healthOf([member("1")], "n7").own).toBeUndefined();
  });
});

describe("defragmentation", () => {
  test.each<[number, number, boolean]>([
    [200, 99, true],
    [200, 101, false],
    // Less than 64 MiB are free.
    [100, 40, false],
    // Near the quota.
    [900, 800, true],
    [900, 850, false],
  ])("%d MiB, %d in use: %p", (size, used, expected) => {
    const status = { dbBytes: size * MIB, dbBytesInUse: used * MIB };
    expect(isWorthDefragmenting(status, QUOTA)).toBe(expected);
  });

  const HOUR = 3_600_000;
  /** The turns that the member `n` has in an hour, each once. */
  const turns = (n: number, members: EtcdMemberHealth[], from = 0): number[] => {
    const health = healthOf(members, `n${n}`);
    const times = Array.from({ length: HOUR / 10_000 }, (_, step) => from + step * 10_000);
    const found = times.map((now) => defragmentationTurn(health, now));
    return [...new Set(found.filter((turn) => turn !== undefined))];
  };

  test("each has one turn an hour, and no two have the same", () => {
    const members = [member("1"), member("2"), member("3")];
    for (const from of [0, HOUR / 2, 1_800_000_000_000]) {
      const all = [1, 2, 3].flatMap((n) => turns(n, members, from));
      expect(new Set(all).size).toBe(all.length);
    }
    expect([1, 2, 3].map((n) => turns(n, members).length)).toEqual([1, 1, 1]);
  });

  test("while the quota is reached the turns are short", () => {
    const full = [member("1", { alarms: ["NOSPACE"] }), member("2")];
    expect(turns(1, full).length).toBe(180);
  });

  test("nobody has a turn while a member is unwell, or where there is no own one", () => {
    for (const unwell of [silent("2"), lost, member("2", { alarms: ["CORRUPT"] })])
      expect(turns(1, [member("1"), unwell, member("3")])).toEqual([]);
    expect(turns(9, [member("1")])).toEqual([]);
  });

  test("there is room again when all members have it", () => {
    const room = member("1", { dbBytes: 700 * MIB });
    const tight = member("2", { dbBytes: 900 * MIB });
    expect(hasRoomAgain(healthOf([room], "n1"), QUOTA)).toBe(true);
    expect(hasRoomAgain(healthOf([room, tight], "n1"), QUOTA)).toBe(false);
    expect(hasRoomAgain(healthOf([room, silent("3")], "n1"), QUOTA)).toBe(false);
  });
});
