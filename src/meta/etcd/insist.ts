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
/** No attempt is made in less. */
const LEAST_MS = 100;

const PAUSE_MS = 20;
const PAUSE_MAX_MS = 250;

/**
 * Repeats an attempt as long as it throws `Unanswered` and hope is left. The attempt is given what tells the
 * milliseconds that are left for it.
 */
export async function insist<T>(
  client: EtcdClient,
  attempt: (left: () => number) => Promise<T>,
): Promise<T> {
  const started = performance.now();
  let limit = ALONE_MS;
  for (let pause = PAUSE_MS; ; pause = Math.min(pause * 2, PAUSE_MAX_MS)) {
    const end = Math.min(performance.now() + ATTEMPT_MS, started + limit);
    try {
      return await attempt(() => Math.max(1, end - performance.now()));
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      if (performance.now() + pause + LEAST_MS > started + ALONE_MS)
        limit = (await client.majorityAnswers(LOOK_MS)) ? ELECTION_MS : 0;
      const elapsed = performance.now() - started;
      if (elapsed + pause + LEAST_MS > limit) throw givenUp(elapsed, error);
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
