/** From what etcd and its gateway say, and from broken connections, to the port's errors. */
import { RevisionCompacted, StoreFull, StoreUnavailable } from "../port.ts";

/** No answer, or one that means "later": worth repeating, at another member too. */
export class Unanswered extends StoreUnavailable {
  /** False when the request has surely not been executed and never will be. */
  readonly mayHappen: boolean;

  constructor(message: string, options: ErrorOptions & { readonly mayHappen: boolean }) {
    super(message, options);
    this.mayHappen = options.mayHappen;
  }
}

/** etcd wants to be shown another token: it has expired, or the accounts have changed. */
export class TokenRefused extends StoreUnavailable {}

/** The lease that a put hangs on has ended; nothing was written. */
export class LeaseGone extends Unanswered {}

/** More compares or operations than the server's `--max-txn-ops`. */
export class TooManyOperations extends RangeError {}

type Meaning = (said: string) => Error;

/** What etcd says, by a part of its sentence. Whatever is not here may pass, and is repeated. */
const MEANINGS: readonly (readonly [RegExp, Meaning])[] = [
  [
    /database space exceeded/,
    (said) =>
      new StoreFull(
        `etcd's database has reached its quota (${said}): compact and defragment every member (etcdctl compact, etcdctl defrag) or raise --quota-backend-bytes, then run "etcdctl alarm disarm"`,
      ),
  ],
  [
    /request is too large|larger than max/,
    (said) =>
      new RangeError(`a commit is larger than etcd takes at once (--max-request-bytes): ${said}`),
  ],
  [
    /too many operations/,
    () =>
      new TooManyOperations(
        "etcd takes fewer operations in a transaction than a commit may have: start it with --max-txn-ops=128 or more",
      ),
  ],
  [/required revision has been compacted/, (said) => new RevisionCompacted(said)],
  [/invalid auth token|revision of auth store is old/, (said) => new TokenRefused(said)],
  [
    /user name is empty/,
    () =>
      new StoreUnavailable(
        "etcd demands a user: set metadata.etcd.username and metadata.etcd.password",
      ),
  ],
  [
    /invalid user ID or password/,
    () =>
      new StoreUnavailable(
        "etcd refuses the user: check metadata.etcd.username and metadata.etcd.password",
      ),
  ],
  [
    /authentication is not enabled/,
    () =>
      new StoreUnavailable(
        "etcd has its authentication turned off: remove metadata.etcd.username, or run etcdctl auth enable",
      ),
  ],
  [/permission denied/, () => permissionDenied()],
  [/requested lease not found/, (said) => new LeaseGone(said, { mayHappen: false })],
  [
    /too many requests/,
    (said) => new Unanswered(`etcd is overloaded: ${said}`, { mayHappen: false }),
  ],
];

export function permissionDenied(): StoreUnavailable {
  return new StoreUnavailable(
    "etcd does not let the user of metadata.etcd.username at our keys: grant its role readwrite on metadata.etcd.prefix (etcdctl role grant-permission ROLE --prefix=true readwrite PREFIX)",
  );
}

/** What an error text of etcd means. */
export function meaningOf(endpoint: string, said: string): Error {
  const [, meaning] = MEANINGS.find(([pattern]) => pattern.test(said)) ?? [];
  return meaning?.(said) ?? new Unanswered(`etcd at ${endpoint}: ${said}`, { mayHappen: true });
}

/** What a response that is not a success means. */
export function refusalOf(endpoint: string, status: number, text: string): Error {
  const said = errorIn(text);
  if (said !== undefined) return meaningOf(endpoint, said);
  if (status === 404)
    return new StoreUnavailable(
      `${endpoint} has no JSON gateway: metadata.etcd.endpoints must name etcd 3.4 or newer, started without --enable-grpc-gateway=false`,
    );
  if (/HTTP request to an HTTPS server/.test(text))
    return new StoreUnavailable(
      `${endpoint} speaks TLS: write https:// in metadata.etcd.endpoints`,
    );
  return new Unanswered(`${endpoint} answered ${status}: ${text.slice(0, 200)}`, {
    mayHappen: true,
  });
}

const CERTIFICATE = /CERT|VERIFY|SELF_SIGNED|ISSUER|TLS|SSL/;

/** What a failed `fetch` means; `ms` is the deadline that it had. */
export function brokenBy(error: unknown, endpoint: string, ms: number): Unanswered {
  const { code, message, name } = error as { code?: unknown; message?: string; name?: string };
  const why = typeof code === "string" ? code : (name ?? "");
  const is = (sentence: string, mayHappen: boolean) =>
    new Unanswered(`etcd at ${endpoint} ${sentence}`, { mayHappen, cause: error });
  if (why === "AbortError") return is(`gave no answer within ${Math.round(ms)} ms`, true);
  if (why === "ECONNREFUSED") return is("refuses the connection", false);
  if (CERTIFICATE.test(why))
    return is(`shows a certificate that does not hold (${why}): see metadata.etcd.tls.ca`, false);
  if ((why === "ECONNRESET" || why === "EPROTO") && endpoint.startsWith("https:"))
    return is(
      "broke the TLS connection: if it demands client certificates, set metadata.etcd.tls.cert and .key",
      true,
    );
  return is(`cannot be reached: ${message ?? why}`, true);
}

function errorIn(text: string): string | undefined {
  try {
    const { error, message } = JSON.parse(text) as { error?: unknown; message?: unknown };
    return [error, message].find((part): part is string => typeof part === "string");
  } catch {
    return undefined;
  }
}
