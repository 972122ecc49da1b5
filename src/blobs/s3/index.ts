/** What app/ needs of this engine. */
export { chainCredentials, type CredentialOptions, type Credentials } from "./credentials.ts";
export { hasDistributionLayout, openDistributionLayout } from "./distribution-layout.ts";
export { S3Failure, STORJ_FIELDS } from "./errors.ts";
export { openMetaNotes, type MetaNotesOptions } from "./meta-notes.ts";
export { openS3Objects, type S3ObjectsOptions } from "./objects.ts";
export { probeS3, type S3Capabilities } from "./probe.ts";
export { openS3Store, type S3StoreOptions } from "./store.ts";
export type { S3Options } from "./transport.ts";
export type { UploadNotes } from "./upload-notes.ts";
