/** The journal over etcd, which gives a commit without an effect no revision, and can show an old state. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { systemClock } from "../../src/base/clock.ts";
import { failureOf } from "../../src/blobs/conformance-tools.ts";
import { openFileObjects } from "../../src/blobs/file/objects.ts";
import type { ObjectStore } from "../../src/blobs/objects.ts";
import { journaled, type Recorder, startRecorder } from "../../src/journal/index.ts";
import { quiet } from "../../src/journal/journal-fixture.ts";
import { openEtcd } from "../../src/meta/etcd/index.ts";
import { type Commit, type MetaStore, StoreUnavailable } from "../../src/meta/port.ts";
import { joinInstallation } from "../../src/registry/installation.ts";
import { describeEtcd, startEtcd } from "../support/etcd.ts";
import { until } from "../support/processes.ts";

const record = (store: MetaStore, objects: ObjectStore): Promise<Recorder> =>
  startRecorder({
    store,
    objects,
    writer: "one",
    installation: "test",
    mode: "before-answer",
    shared: true,
    clock: systemClock,
    log: quiet,
  });

/** Writes wait while it is shut. */
function gated(objects: ObjectStore): ObjectStore & { shut(): () => void } {
  let gate = Promise.resolve();
  return {
    async put(name, bytes, options) {
      await gate;
      return objects.put(name, bytes, options);
    },
    get: (name) => objects.get(name),
    list: (prefix) => objects.list(prefix),
    delete: (name) => objects.delete(name),
    shut() {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return resolve;
    },
  };
}

describeEtcd("the journal over etcd", () => {
  test("who changes nothing waits for the journal to have what others did", async () => {
    const root = mkdtempSync(join(tmpdir(), "holdfast-journal-etcd-"));
    await using etcd = await startEtcd();
    const [plain, other] = await Promise.all([openEtcd(etcd), openEtcd(etcd)]);
    const objects = gated(await openFileObjects(root));
    const recorder = await record(plain, objects);
    const store = journaled(plain, recorder);
    await store.commit({ put: [{ key: "tag!a!0", value: "{}" }] });
    for (const [turn, commit] of (
      [{}, { delete: ["tag!none!x"] }] satisfies Partial<Commit>[]
    ).entries()) {
      const key = `tag!b!${turn}`;
      const open = objects.shut();
      // By a node that dies before the journal has it.
      const made = await other.commit({ put: [{ key, value: "{}" }] });
      const version = made.ok ? made.revision : 0;
      let answered = false;
      const asking = store.commit({ expect: [{ key, version }], ...commit }).then(({ ok }) => {
        answered = true;
        expect(ok).toBe(true);
      });
      await Bun.sleep(1000);
      expect(answered).toBe(false);
      open();
      await asking;
      expect(recorder.status().covered).toBeGreaterThanOrEqual(version);
      // And at once for what it has.
      const began = performance.now();
      await store.commit({ expect: [{ key, version }] });
      expect(performance.now() - began).toBeLessThan(150);
    }
    await recorder.close();
    await Promise.all([plain.close(), other.close()]);
    rmSync(root, { recursive: true });
  }, 30_000);

  test("nothing is decided by a state that a majority has not confirmed", async () => {
    const root = mkdtempSync(join(tmpdir(), "holdfast-journal-etcd-"));
    await using etcd = await startEtcd({ members: 3 });
    const objects = await openFileObjects(root);
    const store = await openEtcd(etcd);
    const names = { database: "etcd", bucket: "bucket" };
    const joined = () => joinInstallation(store, objects, systemClock, names);
    expect(await joined()).toHaveLength(32);
    const recorder = await record(store, objects);
    await Promise.all(etcd.members.slice(1).map((member) => member.stop("SIGKILL")));
    expect((await store.get([])).stale).toBe(true);
    for (const decision of [() => record(store, objects), joined, () => recorder.snapshot()]) {
      const failure = await failureOf(decision());
      expect(failure).toBeInstanceOf(StoreUnavailable);
      expect(String(failure)).toContain("only its last known state");
    }
    await Promise.all(etcd.members.slice(1).map((member) => member.restart()));
    const isFresh = async () => !(await store.get([])).stale;
    await until(isFresh, 15_000, "etcd to have a majority again");
    expect(await joined()).toHaveLength(32);
    await recorder.close();
    await store.close();
    rmSync(root, { recursive: true });
  }, 60_000);
});
