/** The databases of shared places as their administrators meet them: read as they are, and emptied under running nodes. */
import { SQL } from "bun";
import type { DatabaseKind } from "../../support/shared-place.ts";

export interface RawRecord {
  readonly key: string;
  readonly value: string;
  /** The revision that last put it. */
  readonly version: number;
}

export interface RawDatabase {
  /** Every record. */
  records(): Promise<readonly RawRecord[]>;
  /**
   * Deletes everything, as `holdfast rebuild --help` says; resolves to all that there was at that very moment.
   * `settle` is given it, and awaited before it is over; in between nobody commits.
   */
  wipe(settle: (records: readonly RawRecord[]) => Promise<void>): Promise<readonly RawRecord[]>;
}

/** Of a place whose nodes have this environment. */
export function rawDatabase(
  kind: DatabaseKind,
  env: Readonly<Record<string, string>>,
): RawDatabase {
  return kind === "postgres"
    ? postgres(env["HOLDFAST_METADATA_POSTGRES_URL"] ?? "")
    : etcd(
        JSON.parse(env["HOLDFAST_METADATA_ETCD_ENDPOINTS"] ?? "[]") as string[],
        env["HOLDFAST_METADATA_ETCD_PREFIX"] ?? "",
      );
}

function postgres(url: string): RawDatabase {
  const read = async (sql: SQL): Promise<readonly RawRecord[]> =>
    (await sql`SELECT key, value, version FROM holdfast.entries`.values()).map(
      ([key, value, version]: readonly unknown[]) => ({
        key: String(key),
        value: String(value),
        version: Number(version),
      }),
    );
  const withSession = async <T>(work: (sql: SQL) => Promise<T>): Promise<T> => {
    const sql = new SQL(url, { max: 1 });
    try {
      return await work(sql);
    } finally {
      await sql.close();
    }
  };
  return {
    records: () => withSession(read),
    wipe: (settle) =>
      withSession((session) =>
        session.begin(async (sql) => {
          await sql`LOCK TABLE holdfast.state IN EXCLUSIVE MODE`;
          const records = await read(sql);
          // Nodes learn of a commit by asking for it: afterwards there is nobody to ask.
          await settle(records);
          await sql`DROP SCHEMA holdfast CASCADE`;
          return records;
        }),
      ),
  };
}

/** Of the first epoch of a store. */
const EPOCH = 2 ** 40;

function etcd(endpoints: readonly string[], prefix: string): RawDatabase {
  const ctl = (...args: readonly string[]): Answer => {
    const done = Bun.spawnSync(
      ["etcdctl", "--endpoints", endpoints.join(","), "-w=json", ...args],
      {
        env: { PATH: process.env["PATH"] ?? "", ETCDCTL_API: "3" },
      },
    );
    if (done.exitCode !== 0) throw new Error(done.stderr.toString());
    return JSON.parse(done.stdout.toString()) as Answer;
  };
  const data = `${prefix}data/`;
  const read = (...more: readonly string[]): readonly RawRecord[] =>
    (ctl("get", "--prefix", data, ...more).kvs ?? []).map(({ key, value = "", mod_revision }) => ({
      key: atob(key).slice(data.length),
      value: Buffer.from(value, "base64").toString(),
      version: EPOCH + mod_revision,
    }));
  return {
    records: async () => read(),
    async wipe(settle) {
      const { revision } = ctl("del", "--prefix", prefix).header;
      // What happened before is told to whoever watches, also afterwards.
      const records = read(`--rev=${revision - 1}`);
      await settle(records);
      return records;
    },
  };
}

interface Answer {
  readonly header: { readonly revision: number };
  readonly kvs?: readonly {
    readonly key: string;
    readonly value?: string;
    readonly mod_revision: number;
  }[];
}
