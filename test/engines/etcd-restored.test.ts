/** An etcd that is put back to an earlier state under running programs: none of them believes it any more. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { type EtcdStore, openEtcd } from "../../src/meta/etcd/index.ts";
import { StoreUnavailable } from "../../src/meta/port.ts";
import { describeEtcd, startEtcd, type TestEtcd } from "../support/etcd.ts";

const put = (key: string, value = "1") => ({ put: [{ key, value }] });

interface Lab extends AsyncDisposable {
  readonly etcd: TestEtcd;
  open(): Promise<EtcdStore>;
  /** Keeps a copy of what etcd has. */
  backup(): Promise<void>;
  /** Ends etcd and starts it with the copy. */
  putBack(): Promise<void>;
}

async function start(): Promise<Lab> {
  const etcd = await startEtcd();
  const [member] = etcd.members;
  if (member === undefined) throw new Error("no member");
  const home = mkdtempSync(join(tmpdir(), "holdfast-etcd-backup-"));
  const copy = join(home, "data");
  const stores: EtcdStore[] = [];
  const back = async () => {
    await member.restart();
    await etcd.leader();
  };
  return {
    etcd,
    async open() {
      const store = await openEtcd(etcd);
      stores.push(store);
      return store;
    },
    async backup() {
      await member.stop("SIGKILL");
      cpSync(member.data, copy, { recursive: true });
      await back();
    },
    async putBack() {
      await member.stop("SIGKILL");
      rmSync(member.data, { recursive: true });
      cpSync(copy, member.data, { recursive: true });
      await back();
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(stores.map((store) => store.close()));
      await etcd[Symbol.asyncDispose]();
      rmSync(home, { recursive: true });
    },
  };
}

async function isRefused(work: Promise<unknown>): Promise<void> {
  const error = await work.catch((error: unknown) => error);
  expect(error).toBeInstanceOf(StoreUnavailable);
  expect(String(error)).toContain("etcd was put back to an earlier state");
}

/** What somebody who knows nothing of all this writes. */
function writeMuch({ etcd }: Lab): void {
  for (let n = 0; n < 20; n++) etcd.ctl("put", "elsewhere", `${n}`);
}

describeEtcd("etcd, put back to a backup", () => {
  test("acknowledges no commit that has not happened, although it has gone on", async () => {
    await using lab = await start();
    const store = await lab.open();
    await store.commit(put("before"));
    await lab.backup();
    for (let n = 0; n < 5; n++) expect((await store.commit(put(`k${n}`))).ok).toBe(true);
    await lab.putBack();
    writeMuch(lab);
    // Its number alone tells nothing any more: it is the outcome of the last commit that is missing.
    await isRefused(store.commit(put("lost")));
    const fresh = await lab.open();
    expect((await fresh.get(["lost", "k4", "before"])).entries.map((one) => one?.value)).toEqual([
      undefined,
      undefined,
      "1",
    ]);
    // For good: numbers that were given out before come again now.
    await isRefused(store.get(["before"]));
    await isRefused(store.commit(put("again")));
    expect((await fresh.get(["again"])).entries).toEqual([undefined]);
  }, 30_000);

  test("is refused by one that has only read", async () => {
    await using lab = await start();
    const [store, other] = [await lab.open(), await lab.open()];
    await lab.backup();
    for (let n = 0; n < 5; n++) await store.commit(put(`k${n}`));
    expect((await other.get(["k4"])).entries[0]?.value).toBe("1");
    await lab.putBack();
    await isRefused(other.get(["k4"]));
    await isRefused(other.commit(put("k5")));
  }, 30_000);

  test("is refused by one that commits for the first time", async () => {
    await using lab = await start();
    const [store, other] = [await lab.open(), await lab.open()];
    await lab.backup();
    for (let n = 0; n < 5; n++) await store.commit(put(`k${n}`));
    await other.get([]);
    await lab.putBack();
    await isRefused(other.commit(put("k5")));
  }, 30_000);

  test("ends the watches, also of one that is idle", async () => {
    await using lab = await start();
    const [store, idle] = [await lab.open(), await lab.open()];
    const { revision: after } = await idle.get([]);
    await lab.backup();
    const seen: string[] = [];
    const signal = AbortSignal.timeout(20_000);
    const follow = async () => {
      for await (const { changes } of idle.watch({ prefix: "", after, signal }))
        seen.push(...changes.map(({ key }) => key));
    };
    const watching = isRefused(follow());
    for (let n = 0; n < 5; n++) await store.commit(put(`k${n}`));
    while (seen.length < 5 && !signal.aborted) await Bun.sleep(10);
    await lab.putBack();
    await watching;
    await isRefused(idle.get([]));
  }, 30_000);
});
