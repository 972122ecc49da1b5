/** What can be wrong with a journal. Messages name the object, and what to do. */

/** The journal cannot be used as it is; the errors below say how so. */
export class JournalError extends Error {
  override readonly name: string = "JournalError";
}

/** A database without the record of its installation. */
export const EMPTIED =
  "the records of the database were deleted: stop all nodes, empty it and run `holdfast rebuild`";

/** An object of the journal is gone or is not what was written, and nothing else holds the same commits. */
export class JournalDamaged extends JournalError {
  override readonly name = "JournalDamaged";
}

/** The journal knows later commits than the database, which was lost or put back: it must be rebuilt. */
export class JournalAhead extends JournalError {
  override readonly name = "JournalAhead";
}

/** The journal was written by another installation, or by a newer program. */
export class JournalForeign extends JournalError {
  override readonly name = "JournalForeign";
}

/** A file is no backup, or is damaged, or of a newer program. */
export class BackupUnusable extends JournalError {
  override readonly name = "BackupUnusable";
}
