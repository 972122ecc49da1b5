/** The TLS certificate: read once for all workers, and again when its files change. */
import { X509Certificate, createPrivateKey } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import type { Logger } from "../base/log.ts";
import type { Certificate } from "../http/server.ts";

export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

const WATCH_MS = 2000;
const DAY_MS = 86_400_000;
const EXPIRY_NOTICE_MS = 14 * DAY_MS;

/** Reads and checks the pair. Throws an error whose message is a sentence fit for the operator. */
export async function readCertificate(files: CertificateFiles): Promise<Certificate> {
  const [cert, key] = await Promise.all([
    readPem(files.cert, "tls.cert"),
    readPem(files.key, "tls.key"),
  ]);
  if (holds(cert, "PRIVATE KEY") && !holds(cert, "CERTIFICATE") && holds(key, "CERTIFICATE"))
    throw new Error(
      `tls.cert names a private key (${files.cert}) and tls.key a certificate (${files.key}): swap them`,
    );
  if (holds(key, "ENCRYPTED"))
    throw new Error(
      `the private key ${files.key} (tls.key) is encrypted, and passphrases are not supported: ` +
        `write a key without one, with openssl pkey -in ${files.key} -out FILE`,
    );
  const leaf = parse(() => new X509Certificate(cert), files.cert, "a certificate in PEM form");
  const secret = parse(() => createPrivateKey(key), files.key, "a private key in PEM form");
  if (!leaf.checkPrivateKey(secret))
    throw new Error(
      `the key ${files.key} does not belong to the certificate ${files.cert}: set tls.cert and tls.key to a pair`,
    );
  return { cert, key };
}

/** Why the certificate at `path` should be renewed soon, in one sentence; `undefined` while there is time. */
export function expiryWarning(
  path: string,
  { cert }: Certificate,
  now: number = Date.now(),
): string | undefined {
  const { validTo } = new X509Certificate(cert);
  const left = Date.parse(validTo) - now;
  if (left > EXPIRY_NOTICE_MS) return undefined;
  return left <= 0
    ? `the TLS certificate ${path} has expired (${validTo}), and clients refuse it: renew it; it is read again when it changes`
    : `the TLS certificate ${path} expires within ${Math.ceil(left / DAY_MS)} days (${validTo}): renew it; it is read again when it changes`;
}

async function readPem(path: string, setting: "tls.cert" | "tls.key"): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const variable = setting === "tls.cert" ? "HOLDFAST_TLS_CERT" : "HOLDFAST_TLS_KEY";
    throw new Error(
      `cannot read ${setting} (${reason}): name the right file with ${setting} or ${variable}, and make it readable to ` +
        `user id ${process.getuid?.() ?? "of this process"}`,
      { cause: error },
    );
  }
}

/** Whether a line that begins a part of a PEM file, or a header of it, has these words. */
function holds(pem: string, words: string): boolean {
  return pem
    .split("\n")
    .some((line) => /^(?:-----BEGIN |Proc-Type:)/.test(line) && line.includes(words));
}

function parse<T>(make: () => T, path: string, what: string): T {
  try {
    return make();
  } catch (error) {
    throw new Error(`${path} does not hold ${what}`, { cause: error });
  }
}

/** Keeps the certificate current. `use` is called with each new one. */
export class CertificateWatch {
  readonly #files: CertificateFiles;
  readonly #log: Logger;
  readonly #use: (certificate: Certificate) => void;
  readonly #timer: ReturnType<typeof setInterval>;
  #current: Certificate;
  #seen: string | undefined;
  #checking: Promise<void> = Promise.resolve();

  constructor(
    files: CertificateFiles,
    current: Certificate,
    log: Logger,
    use: (certificate: Certificate) => void,
  ) {
    this.#files = files;
    this.#current = current;
    this.#log = log;
    this.#use = use;
    this.#timer = setInterval(() => this.check(false), WATCH_MS);
  }

  /** Looks whether the files changed; `forced` reads them even if they seem the same. */
  check(forced: boolean): void {
    this.#checking = this.#checking.then(() => this.#look(forced));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #look(forced: boolean): Promise<void> {
    const seen = await fingerprint(this.#files);
    const first = this.#seen === undefined;
    if (seen === this.#seen && !forced) return;
    this.#seen = seen;
    try {
      const certificate = await readCertificate(this.#files);
      const same = certificate.cert === this.#current.cert && certificate.key === this.#current.key;
      if (!same) {
        this.#current = certificate;
        this.#use(certificate);
        this.#log.info("the new TLS certificate is in use", { cert: this.#files.cert });
      } else if (forced || !first) this.#log.info("the TLS certificate has not changed");
      const expiry = same && !forced ? undefined : expiryWarning(this.#files.cert, certificate);
      if (expiry !== undefined) this.#log.warn(expiry);
    } catch (error) {
      this.#log.error("the new TLS certificate cannot be used; the former one stays in use", {
        reason: error instanceof Error ? error.message : String(error),
      });
    }
  }
}

/** Changes with every write or replacement of either file, through symbolic links too. */
async function fingerprint(files: CertificateFiles): Promise<string> {
  const parts = [files.cert, files.key].map(async (path) => {
    try {
      const { mtimeMs, size, ino } = await stat(path);
      return `${mtimeMs}/${size}/${ino}`;
    } catch {
      return "missing";
    }
  });
  return (await Promise.all(parts)).join(" ");
}
