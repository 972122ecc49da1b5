/** What app/ needs of the journal: every commit, written down beside the bytes, and the store rebuilt from there. */
export { type Archive, checkArchive, openArchive } from "./archive.ts";
export { type Backup, type BackupLabel, openBackup } from "./backup.ts";
export { checkJournal, type JournalProblem } from "./check.ts";
export { isRestoring, type OpenStore } from "./empty-store.ts";
export {
  BackupUnusable,
  JournalAhead,
  JournalDamaged,
  JournalError,
  JournalForeign,
} from "./errors.ts";
export { journaled } from "./journaled.ts";
export type { JournalStatus, Recorder, RecorderMode, RecorderOptions } from "./recorder.ts";
export { restore, type Restored, type RestoreOptions, type RestoreProgress } from "./restore.ts";
export { journalInstallation } from "./owner.ts";
export { writeSnapshot } from "./snapshot.ts";
export { startRecorder } from "./start.ts";
export { stateHash } from "./state-hash.ts";
export {
  isSnapshotDue,
  type JournalSize,
  maintainJournal,
  measureJournal,
  trimJournal,
  type UpkeepOptions,
} from "./upkeep.ts";
