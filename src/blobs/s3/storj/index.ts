export { AUTH_SERVICE } from "./auth-service.ts";
export { fileKeeper, metaKeeper, type CredentialKeeper } from "./credential-keeper.ts";
export {
  storjCredentials,
  type StorjCredentials,
  type StorjOptions,
  type StorjS3Settings,
} from "./credentials.ts";
export { StorjError } from "./error.ts";
