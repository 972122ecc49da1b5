/** `<data>/cluster.json`: who this node is. What it answers others is what is on its disk. */
import fs from "node:fs";
import { join } from "node:path";
import { randomHex } from "../../base/clock.ts";
import { fsync, makeDirectory, syncDirectory } from "../../base/fsync.ts";
import { IDENTITY_FILE } from "./identity-file.ts";
import {
  identitySchema,
  MembershipError,
  type IdentityRecord,
  type NodeAnswer,
  type Seat,
} from "./records.ts";

const ETCD = "etcd";
/** etcd makes it only once it has found its flags right, and before it says anything to anybody. */
const ETCD_LOG = "etcd/member/wal";

export interface IdentityOptions {
  /** Data directory, locked by this process. */
  readonly data: string;
  /** Name of the node. */
  readonly node: string;
  /** Where the others find it; `store` is added. */
  readonly place: Omit<Seat, "name" | "store">;
  /** `cluster.members`: addresses by name. Absent where the node is told to join. */
  readonly seeds?: Readonly<Record<string, string>> | undefined;
  /** Of the program. */
  readonly version: string;
}

type Change = Partial<IdentityRecord>;

export class Identity {
  readonly #options: IdentityOptions;
  readonly #run: string = randomHex(8);
  #record: IdentityRecord;
  #saving: Promise<void> = Promise.resolve();

  private constructor(options: IdentityOptions, record: IdentityRecord) {
    this.#options = options;
    this.#record = record;
  }

  /** Reads the file, or mints a store. Throws `MembershipError` for a directory that is another node's. */
  static async open(options: IdentityOptions): Promise<Identity> {
    const { data, node } = options;
    const path = join(data, IDENTITY_FILE);
    await makeDirectory(data);
    const found = read(path);
    if (found === undefined) {
      if (hasEtcdData(data))
        throw new MembershipError(
          `${join(data, ETCD)} holds etcd's data, and ${path}, which says whose they are, is missing: ` +
            `bring it back, or empty the data directory to have the node refilled by the others`,
        );
      const identity = new Identity(options, {
        format: 1,
        node,
        store: randomHex(8),
        phase: "empty",
        nodes: [],
      });
      await identity.save({});
      return identity;
    }
    if (found.node !== node)
      throw new MembershipError(
        `${path} is of node ${found.node}, and this node is called ${node}: set cluster.node to ${found.node}, ` +
          `or choose another data directory`,
      );
    const identity = new Identity(options, found);
    if (found.etcd?.hasRun === false && hasEtcdData(data))
      await identity.save({ etcd: { ...found.etcd, hasRun: true } });
    return identity;
  }

  get record(): IdentityRecord {
    return this.#record;
  }

  get ownSeat(): Seat {
    const { node: name, store } = this.#record;
    return { name, store, ...this.#options.place };
  }

  /**
   * A member without the data of its etcd, which has run, or was let in and may find the cluster changed by now: it is
   * to be let in anew. Only who forms a cluster starts without data.
   */
  get isLost(): boolean {
    const { etcd } = this.#record;
    const mayBegin = etcd === undefined || (etcd.state === "new" && !etcd.hasRun);
    return !mayBegin && !hasEtcdData(this.#options.data);
  }

  /** Clears away what an etcd without its log has left: it would take its database for newer than what it is sent. */
  clearEtcd(): void {
    const { data } = this.#options;
    if (!hasEtcdData(data)) fs.rmSync(join(data, ETCD), { recursive: true, force: true });
  }

  /** Writes changes down durably, one after the other; only then they are answered to anybody. */
  save(change: Change | ((record: IdentityRecord) => Change)): Promise<void> {
    const write = async (): Promise<void> => {
      const now = this.#record;
      const next = { ...now, ...(typeof change === "function" ? change(now) : change) };
      await replace(this.#options.data, `${JSON.stringify(next, undefined, 2)}\n`);
      this.#record = next;
    };
    const saved = this.#saving.then(write);
    this.#saving = saved.catch(() => {});
    return saved;
  }

  /** Notes where a node is. */
  async seat(seat: Seat): Promise<readonly Seat[]> {
    await this.save(({ nodes }) => ({
      nodes: [...nodes.filter(({ name }) => name !== seat.name), seat],
    }));
    return this.#record.nodes;
  }

  /** What this node says of itself. */
  answer(): NodeAnswer {
    const { format: _, etcd: __, ...known } = this.#record;
    const { seeds, version } = this.#options;
    return { ...known, seat: this.ownSeat, seeds, run: this.#run, version, time: Date.now() };
  }
}

function hasEtcdData(data: string): boolean {
  return fs.existsSync(join(data, ETCD_LOG));
}

function read(path: string): IdentityRecord | undefined {
  let text: string;
  try {
    text = fs.readFileSync(path, "utf8");
  } catch (error) {
    if ((error as ErrnoException).code === "ENOENT") return undefined;
    throw new MembershipError(`${path} cannot be read (${String(error)})`, { cause: error });
  }
  try {
    return identitySchema.parse(JSON.parse(text));
  } catch (error) {
    throw new MembershipError(
      `${path} is damaged or of a later version: bring it back from a copy, or empty the data directory to have ` +
        `the node refilled by the others`,
      { cause: error },
    );
  }
}

async function replace(data: string, text: string): Promise<void> {
  const path = join(data, IDENTITY_FILE);
  const draft = `${path}.new`;
  const fd = fs.openSync(draft, "w", 0o600);
  try {
    fs.writeSync(fd, text);
    await fsync(fd);
  } finally {
    fs.closeSync(fd);
  }
  fs.renameSync(draft, path);
  await syncDirectory(data);
}
