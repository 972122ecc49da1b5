/** Storj cannot be used as configured, or not now. The message is for people: the field, what is wrong, the remedy. */
export class StorjError extends Error {
  override readonly name = "StorjError";
}

/** Where the access grant is written down. */
export const GRANT_FIELD = "storage.storj.accessGrant";
