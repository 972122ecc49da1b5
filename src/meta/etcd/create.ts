/** Finds the store in etcd, or makes it; any number of processes may do so at once. */
import { type Revision, StoreCorrupt, StoreUnavailable } from "../port.ts";
import { insist } from "./insist.ts";
import type { EtcdClient } from "./client.ts";
import type { TruthReader } from "./truth.ts";
import { Names, newRecord, Space } from "./space.ts";
import type { Kv, Operation, Txn, TxnAnswer } from "./wire.ts";

/** The store that is there, if any. */
export async function find(truth: TruthReader, prefix: string): Promise<Space | undefined> {
  const record: Operation = { request_range: { key: new Names(prefix).store } };
  const { answer, stale } = await truth.read([record]);
  const found = seen(answer).record;
  if (found !== undefined) return spaceOf(prefix, found);
  if (!stale) return undefined;
  throw new StoreUnavailable("etcd has no majority, and the store cannot be made without one");
}

/** The store, which is made where there is none. `above` demands an empty store with greater revisions. */
export async function create(
  client: EtcdClient,
  prefix: string,
  above: Revision | undefined,
): Promise<Space> {
  const names = new Names(prefix);
  const look: Operation[] = [
    { request_range: { key: names.store } },
    { request_range: { key: names.data[0], range_end: names.data[1], count_only: true } },
  ];
  const ask = (txn: Txn) =>
    insist(client, (left) => client.call<TxnAnswer>("/v3/kv/txn", txn, left()));
  let found = seen(await ask({ success: look }));
  // What was asked for `above` is still to be done; a race with another process is settled by the second look.
  let wanted = above;
  while (found.record === undefined || wanted !== undefined) {
    if (found.records > 0 && wanted !== undefined)
      throw new StoreUnavailable(
        `the store in etcd below "${prefix}" (metadata.etcd.prefix) is not empty: it cannot be built anew; name another prefix or delete what is there`,
      );
    if (found.records > 0)
      throw new StoreCorrupt(
        `etcd has records below "${prefix}" (metadata.etcd.prefix), but not the record of their store: restore etcd's snapshot, or rebuild the store under another prefix`,
      );
    const expected = found.record;
    const value = newRecord(wanted ?? 0);
    const made = await ask({
      compare: [
        {
          key: names.store,
          result: "EQUAL",
          target: "MOD",
          mod_revision: expected?.mod_revision ?? "0",
        },
        {
          key: names.data[0],
          range_end: names.data[1],
          result: "EQUAL",
          target: "CREATE",
          create_revision: "0",
        },
      ],
      success: [{ request_put: { key: names.store, value } }],
      failure: look,
    });
    if (made.succeeded === true) return new Space(prefix, value, Number(made.header.revision));
    found = seen(made);
    // An answer that was lost: the record is the one just sent.
    if (found.record?.value === value) wanted = undefined;
  }
  return spaceOf(prefix, found.record);
}

function spaceOf(prefix: string, { value = "", mod_revision }: Kv): Space {
  return new Space(prefix, value, Number(mod_revision));
}

function seen({ responses = [] }: TxnAnswer): {
  readonly record: Kv | undefined;
  readonly records: number;
} {
  const [record, records] = responses.map((one) => one.response_range);
  return { record: record?.kvs?.[0], records: Number(records?.count ?? 0) };
}
