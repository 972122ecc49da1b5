/** What the parent of a node does for etcd again and again: learners get their vote, space is given back. */
import { Beat } from "../../base/beat.ts";
import { systemClock, type Clock } from "../../base/clock.ts";
import type { Logger } from "../../base/log.ts";
import { QUOTA_BYTES } from "./flags.ts";
import { healthOf, UNKNOWN_HEALTH, type EtcdHealth, type EtcdMemberHealth } from "./health.ts";
import {
  defragment,
  disarmNoSpace,
  listMembers,
  MembershipRefused,
  memberStatus,
  promoteMember,
  type EtcdApi,
  type EtcdMember,
} from "./members.ts";
import { candidates, defragmentationTurn, hasRoomAgain, isWorthDefragmenting } from "./plan.ts";

export interface EtcdUpkeepOptions {
  /** This node's name. */
  readonly node: string;
  /** Asks any member. */
  readonly api: EtcdApi;
  /** Asks the member at these client URLs and no other. */
  readonly at: (clientUrls: readonly string[]) => EtcdApi;
  /** How many members shall vote: `votersFor(nodes)`. */
  readonly voters: () => number;
  readonly log: Logger;
  /** As given to etcd; default `QUOTA_BYTES`. */
  readonly quotaBytes?: number;
  /** Milliseconds between looks; default 2000. */
  readonly everyMs?: number;
  readonly clock?: Clock;
}

const DEFRAGMENT_MS = 600_000;
const STOP_MS = 2000;

export class EtcdUpkeep implements AsyncDisposable {
  readonly #options: EtcdUpkeepOptions;
  readonly #quotaBytes: number;
  readonly #clock: Clock;
  readonly #beat: Beat;
  #health: EtcdHealth = UNKNOWN_HEALTH;
  #usedTurn: number | undefined;
  #isDefragmenting = false;
  #trouble: string | undefined;

  constructor(options: EtcdUpkeepOptions) {
    this.#options = options;
    this.#quotaBytes = options.quotaBytes ?? QUOTA_BYTES;
    this.#clock = options.clock ?? systemClock;
    this.#beat = new Beat(options.everyMs ?? 2000, () => this.turn());
  }

  /** As of the last look. */
  health(): EtcdHealth {
    return this.#health;
  }

  /** Looks, and does what is to be done now; throws nothing. */
  async turn(): Promise<void> {
    try {
      this.#health = await this.#look();
      const { own, leader } = this.#health;
      // One node decides for all.
      if (own !== undefined && own.id === leader) {
        await this.#promote();
        await this.#disarm();
      }
      if (!this.#isDefragmenting) this.#defragment();
      this.#trouble = undefined;
    } catch (error) {
      this.#complain(error instanceof Error ? error.message : String(error));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#beat.stop(STOP_MS);
  }

  async #look(): Promise<EtcdHealth> {
    const { api, at, node } = this.#options;
    // Where nobody knows the members, those known before are looked at.
    const members: readonly EtcdMember[] = await listMembers(api).catch(() => this.#health.members);
    const found = members.map(async (member): Promise<EtcdMemberHealth> => {
      const { id, name, peerUrls, clientUrls, isLearner } = member;
      const asked = clientUrls.length === 0 ? undefined : memberStatus(at(clientUrls));
      const status = await asked?.catch(() => undefined);
      return { id, name, peerUrls, clientUrls, isLearner, status };
    });
    return healthOf(await Promise.all(found), node);
  }

  async #promote(): Promise<void> {
    const { api, voters, log } = this.#options;
    for (const { id, name } of candidates(this.#health.members, voters())) {
      try {
        await promoteMember(api, id);
        log.info("etcd: a learner votes from now on", { member: name, id });
      } catch (error) {
        // It is behind yet, or others were quicker: looked at again.
        if (!(error instanceof MembershipRefused)) throw error;
        log.debug("etcd: a learner does not vote yet", { member: name, id, error: error.message });
      }
    }
  }

  async #disarm(): Promise<void> {
    const { api, log } = this.#options;
    if (!this.#health.alarms.includes("NOSPACE")) return;
    if (!hasRoomAgain(this.#health, this.#quotaBytes)) return;
    // An alarm hangs on one member; it does no harm to the others.
    for (const { id } of this.#health.members) await disarmNoSpace(api, id);
    log.info("etcd: there is room again, and writes are let through");
  }

  /** Does not wait for it: health is looked at meanwhile. */
  #defragment(): void {
    const { at, log } = this.#options;
    const { own } = this.#health;
    const turn = defragmentationTurn(this.#health, this.#clock.now());
    if (own?.status === undefined || turn === undefined || turn === this.#usedTurn) return;
    if (!isWorthDefragmenting(own.status, this.#quotaBytes)) return;
    this.#usedTurn = turn;
    this.#isDefragmenting = true;
    const { dbBytes, dbBytesInUse } = own.status;
    log.info("etcd: giving free space back", { dbBytes, dbBytesInUse });
    void defragment(at(own.clientUrls), DEFRAGMENT_MS)
      .catch((error: unknown) => this.#complain(String(error)))
      .finally(() => (this.#isDefragmenting = false));
  }

  /** The same trouble is told once. */
  #complain(trouble: string): void {
    if (trouble !== this.#trouble)
      this.#options.log.warn("etcd: upkeep has to wait", { error: trouble });
    this.#trouble = trouble;
  }
}
