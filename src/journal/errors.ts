/** What can be wrong with a journal. Messages name the object, and what to do. */

/** The journal cannot be used as it is; the errors below say how so. */
export class JournalError extends Error {
  override readonly name: string = "JournalError";
}

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
