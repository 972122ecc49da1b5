/** The store as those see it who commit: a commit is answered when the journal has it. */
import { delegate } from "../meta/delegate.ts";
import { isJournaled } from "../meta/keys.ts";
import type { Commit, MetaStore } from "../meta/port.ts";
import type { Recorder } from "./recorder.ts";

/** `close` closes the store only. */
export function journaled(store: MetaStore, recorder: Recorder): MetaStore {
  return delegate(store, {
    async commit(commit) {
      if (!concernsJournal(commit)) return store.commit(commit);
      recorder.requireRecording();
      const result = await store.commit(commit);
      if (!result.ok) return result;
      // Without an effect, the commit's own revision may be older than what its expectations rest upon.
      const { expect = [] } = commit;
      const known = expect.reduce((latest, one) => Math.max(latest, one.version), 0);
      await recorder.covers(Math.max(result.revision, known));
      return result;
    },
  });
}

/**
 * One that only asks is answered by what others have written, which must be as durable as what it writes itself; so
 * must what it rests upon, where what it writes concerns nobody.
 */
function concernsJournal({ expect = [], put = [], delete: deleted = [] }: Commit): boolean {
  const touched = [...expect.map(({ key }) => key), ...put.map(({ key }) => key), ...deleted];
  return touched.length === 0 || touched.some(isJournaled);
}
