/** Comparing metadata and stored bytes from outside of a serving process. */
import { randomHex, systemClock } from "../base/clock.ts";
import type { OwnLogger } from "../base/log.ts";
import type { Config } from "../config/config.ts";
import { checkJournal, type JournalProblem } from "../journal/index.ts";
import { createRegistry } from "../registry/registry.ts";
import type { DriftEvent, DriftOptions } from "../registry/drift.ts";
import { takeDataDirectory } from "./data-directory.ts";
import type { NodeStores } from "./node-stores.ts";
import { openNodeStores } from "./open-stores.ts";
import { starting } from "./start-error.ts";
import { registryOptions } from "./stores.ts";

export type VerifyEvent =
  | DriftEvent
  | { readonly type: "journal"; readonly problem: JournalProblem; readonly mended: boolean };

/**
 * With a database, beside running nodes; else no node may run meanwhile. Throws `StartError`, also for stores that
 * fail under way.
 */
export async function* verify(
  config: Config,
  log: OwnLogger,
  options: DriftOptions,
): AsyncGenerator<VerifyEvent, void, void> {
  await using held = new AsyncDisposableStack();
  // Another node on this machine may be using the directory of a shared installation.
  if (config.stores.kind !== "shared") held.use(takeDataDirectory(config.data));
  const lost = (reason: string): void => log.error(reason);
  const stores = held.use(await openNodeStores({ config, log, run: randomHex(8), lost }));
  const registry = await starting(() =>
    createRegistry({
      meta: stores.meta,
      blobs: stores.blobs,
      clock: systemClock,
      options: registryOptions(config),
      alarm: (message, fields) => log.error(message, fields),
    }),
  );
  const events = registry.findDrift(options);
  for (;;) {
    const next = await starting(() => events.next());
    if (next.done) break;
    yield next.value;
  }
  yield* verifyJournal(stores, options);
}

/** A snapshot of now makes up for whatever of the journal is lost, but for the points in time before it. */
async function* verifyJournal(
  { objects, recorder }: NodeStores,
  { repair, signal }: DriftOptions,
): AsyncGenerator<VerifyEvent, void, void> {
  const problems: JournalProblem[] = [];
  const checks = checkJournal(objects, { signal });
  for (;;) {
    const next = await starting(() => checks.next());
    if (next.done) break;
    problems.push(next.value);
  }
  const mended = repair && problems.length > 0;
  if (mended) await starting(() => recorder.snapshot(signal));
  for (const problem of problems) yield { type: "journal", problem, mended };
}
