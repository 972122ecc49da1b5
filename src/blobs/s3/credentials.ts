/** Where the keys come from. */
import { readFile } from "node:fs/promises";
import { BlobStoreUnavailable } from "../port.ts";

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** Keys good for the next request. */
export type CredentialSource = () => Promise<Credentials>;

/** Keys as given, keys whose secret stands in a file, or (`undefined`) whatever the standard AWS chain finds. */
export type CredentialOptions =
  | Credentials
  | { readonly accessKeyId: string; readonly secretAccessKeyFile: string }
  | CredentialSource
  | undefined;

/** How long before they expire keys are replaced, and how old a file's content may be, in milliseconds. */
const EARLY_MS = 5 * 60_000;
const FILE_MS = 60_000;
/** How long a request waits for keys, in milliseconds. */
const WAIT_MS = 7000;

export function credentialSource(options: CredentialOptions): CredentialSource {
  if (options === undefined) return chainCredentials();
  if (typeof options === "function") return options;
  if ("secretAccessKey" in options) return async () => options;
  const { accessKeyId, secretAccessKeyFile } = options;
  return kept(async () => {
    const secretAccessKey = (await readSecret(secretAccessKeyFile)).trim();
    return { accessKeyId, secretAccessKey, goodUntil: Date.now() + FILE_MS };
  });
}

async function readSecret(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new BlobStoreUnavailable(
      `storage.s3.secretAccessKeyFile cannot be read: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

/** Environment, shared files, web identity, container and instance roles; the library is only loaded here. */
export function chainCredentials(): CredentialSource {
  return kept(async () => {
    const { defaultProvider } = await import("@aws-sdk/credential-provider-node");
    try {
      const found = await defaultProvider()();
      return {
        accessKeyId: found.accessKeyId,
        secretAccessKey: found.secretAccessKey,
        sessionToken: found.sessionToken,
        goodUntil: found.expiration ? found.expiration.getTime() - EARLY_MS : Infinity,
      };
    } catch (error) {
      throw new BlobStoreUnavailable(
        `no credentials for the bucket: set storage.s3.accessKeyId and secretAccessKey, or let the AWS environment give some (${(error as Error).message})`,
        { cause: error },
      );
    }
  });
}

type Lasting = Credentials & { readonly goodUntil: number };

/** Asks again when the answer has had its time; those who need it meanwhile wait for one answer, but not for ever. */
function kept(ask: () => Promise<Lasting>): CredentialSource {
  let last: Lasting | undefined;
  let asking: Promise<void> | undefined;
  return async () => {
    if (last !== undefined && Date.now() < last.goodUntil) return last;
    const current = (asking ??= ask().then((found) => {
      last = found;
    }));
    try {
      await inTime(current);
    } finally {
      if (asking === current) asking = undefined;
    }
    if (last === undefined) throw new Error("keys were found and are not there");
    return last;
  };
}

async function inTime(work: Promise<void>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const message = `whoever gives credentials for the bucket has not answered for ${WAIT_MS / 1000} s: set storage.s3.accessKeyId and secretAccessKey, or mend the AWS environment`;
  const timer = setTimeout(() => reject(new BlobStoreUnavailable(message)), WAIT_MS);
  try {
    await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
