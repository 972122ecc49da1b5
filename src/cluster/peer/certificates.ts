/** A node's certificate for its peers and its etcd: made here from the cluster's keys, renewed long before it ends. */
import { generateKeyPairSync, randomBytes, type KeyObject } from "node:crypto";
import { mkdir, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { systemClock, type Clock } from "../../base/clock.ts";
import type { ClusterKeys } from "./secret.ts";
import { authorityCertificate, leafCertificate, type AuthorityTerms } from "./x509.ts";

/** PEM texts. */
export interface PeerCertificate {
  /** Of the cluster's authority: who shows a certificate signed by it is a node of the cluster. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Absolute or as the directory was given. */
export interface PemFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  readonly keys: ClusterKeys;
  /** The node's name. */
  readonly node: string;
  /** DNS names and IP addresses, without ports, by which etcd's members and clients know this node. */
  readonly hosts: readonly string[];
  readonly clock?: Clock;
}

/** In every node's certificate, so that a node is known as one whatever address it was reached by. */
export const PEER_NAME = "holdfast-peer";
const ALWAYS = ["localhost", "127.0.0.1", "::1", PEER_NAME];

const DAY_MS = 86_400_000;
const VALID_MS = 90 * DAY_MS;
/** For nodes whose clocks are behind. */
const BACKDATED_MS = DAY_MS;
const RENEWED_MS = VALID_MS / 3;
const LOOK_MS = 3_600_000;

interface Leaf {
  readonly certificate: PeerCertificate;
  readonly validTo: number;
}

export class ClusterCertificates {
  readonly #authority: AuthorityTerms;
  readonly #ca: string;
  readonly #options: CertificateOptions;
  readonly #clock: Clock;
  readonly #listeners = new Set<() => void>();
  readonly #timer: ReturnType<typeof setInterval>;
  #leaf: Leaf;

  /** Makes the first certificate at once. */
  constructor(options: CertificateOptions) {
    const { authority, fingerprint } = options.keys;
    this.#authority = { name: `Holdfast cluster ${fingerprint}`, key: authority };
    this.#ca = authorityCertificate(this.#authority);
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#leaf = this.#make();
    this.#timer = setInterval(() => this.renewIfDue(), LOOK_MS);
    this.#timer.unref();
  }

  current(): PeerCertificate {
    return this.#leaf.certificate;
  }

  /** Milliseconds since the epoch. */
  get validTo(): number {
    return this.#leaf.validTo;
  }

  /** Calls `listener` after each renewal. Returns what forgets it. */
  onRenewed(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Makes a new certificate where less than a third of the time is left; looked at every hour. */
  renewIfDue(): void {
    if (this.#leaf.validTo - this.#clock.now() < RENEWED_MS) this.renew();
  }

  renew(): void {
    this.#leaf = this.#make();
    for (const listener of this.#listeners) listener();
  }

  /**
   * Writes `ca.pem`, `cert.pem` and `key.pem` into the directory (made with mode 0700), each replaced atomically and
   * readable by this user only. etcd reads the latter two anew for every connection: after a renewal writing them is
   * all there is to do.
   */
  async writePem(directory: string): Promise<PemFiles> {
    const { ca, cert, key } = this.current();
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const write = async (name: string, text: string): Promise<string> => {
      const path = join(directory, name);
      await replaceFile(path, text);
      return path;
    };
    return {
      ca: await write("ca.pem", ca),
      key: await write("key.pem", key),
      cert: await write("cert.pem", cert),
    };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  #make(): Leaf {
    const { node, hosts } = this.#options;
    const now = this.#clock.now();
    const key = newKey();
    const validTo = now + VALID_MS;
    const cert = leafCertificate(this.#authority, {
      name: node,
      key,
      serial: randomSerial(),
      hosts: [...new Set([...hosts, ...ALWAYS])],
      from: new Date(now - BACKDATED_MS),
      to: new Date(validTo),
    });
    const secret = key.export({ type: "pkcs8", format: "pem" });
    return { certificate: { ca: this.#ca, cert, key: secret }, validTo };
  }
}

function newKey(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey;
}

/** Positive, and never zero. */
function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

async function replaceFile(path: string, text: string): Promise<void> {
  const draft = `${path}.new`;
  const file = await open(draft, "w", 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
}
