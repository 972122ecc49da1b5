/** How long a request goes on being repeated (DESIGN §1, promise 5). */
import { StoreUnavailable } from "../port.ts";
import type { EtcdClient } from "./client.ts";
import { Unanswered } from "./failures.ts";

/** One member has so long for one answer. */
export const ATTEMPT_MS = 1000;
/** Without a majority of members alive, an error comes within 2 s of the call, the last look around included. */
const ALONE_MS = 1500;
const LOOK_MS = 300;
/** A majority that is electing is waited for. */
const ELECTION_MS = 10_000;
/** Silence that was met longer ago says nothing. */
const RECENT_MS = 2000;
/** No attempt is made in less. */
const LEAST_MS = 100;

const PAUSE_MS = 20;
const PAUSE_MAX_MS = 250;

/**
 * Repeats an attempt as long as it throws `Unanswered` and hope is left. The attempt is given what tells the
 * milliseconds that are left for it. Silence that other calls have met before this one counts: who has waited for a
 * read in vain is not made to wait again.
 */
export async function insist<T>(
  client: EtcdClient,
  attempt: (left: () => number) => Promise<T>,
): Promise<T> {
  const called = performance.now();
  const met = client.silence;
  const known = met !== undefined && called - met.at < RECENT_MS ? met : undefined;
  const silent = known?.since ?? called;
  let { last } = known ?? {};
  for (let pause = PAUSE_MS; ; pause = Math.min(pause * 2, PAUSE_MAX_MS)) {
    let end = silent + ALONE_MS;
    if (last !== undefined && performance.now() + LEAST_MS > end) {
      const electing = await client.majorityAnswers(LOOK_MS);
      end = called + ELECTION_MS;
      const now = performance.now();
      if (!electing || now + LEAST_MS > end) throw givenUp(now - silent, last);
    }
    const until = Math.min(performance.now() + ATTEMPT_MS, end);
    try {
      return await attempt(() => Math.max(1, until - performance.now()));
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      last = error;
    }
    await Bun.sleep(pause * (0.5 + Math.random() / 2));
  }
}

export function givenUp(ms: number, last: Unanswered): StoreUnavailable {
  return new StoreUnavailable(
    `etcd has not answered for ${(ms / 1000).toFixed(1)} s (metadata.etcd.endpoints): ${last.message}`,
    { cause: last },
  );
}
