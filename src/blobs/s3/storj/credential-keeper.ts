/** Where the key pair of an installation is kept: in the metadata that its nodes share, or in a file of its only node. */
import { open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { makeDirectory, syncDirectory } from "../../../base/fsync.ts";
import { requireFresh } from "../../../meta/fresh.ts";
import { keys } from "../../../meta/keys.ts";
import { ABSENT, type Entry, type MetaStore, type Revision } from "../../../meta/port.ts";

/** Keeps one secret text a name; a name is `[0-9a-f]+`. Errors are those of the medium. */
export interface CredentialKeeper {
  /** What is kept, or `undefined`. */
  read(name: string): Promise<string | undefined>;
  /**
   * Keeps `text` durably in the place of `instead` (`undefined`: of nothing) and resolves with what is kept then:
   * `text`, or what somebody else has kept meanwhile.
   */
  keep(name: string, text: string, instead: string | undefined): Promise<string>;
  /**
   * Runs `work` while nobody else runs theirs for this name, so that not everybody fetches what one will keep. It saves
   * work and is no lock: whoever takes very long is not waited for. Left out where there is nobody else.
   */
  inTurn?<T>(name: string, work: () => Promise<T>): Promise<T>;
}

/** The whole turn of somebody who fetches, unless the other side is slow; for one who died in it others wait as long. */
const TURN_MS = 15_000;
const LOOK_MS = 100;

/** Shared by all nodes of a metadata store; no part of journals and backups. */
export function metaKeeper(meta: MetaStore, turnMs = TURN_MS): CredentialKeeper {
  const find = async (name: string): Promise<Entry | undefined> => {
    const { entries } = requireFresh(await meta.get([keys.storjSecret(name)]));
    return entries[0];
  };
  return {
    async read(name) {
      return (await find(name))?.value;
    },
    async inTurn(name, work) {
      const key = keys.lease(`storj!${name}`);
      const version = await takeTurn(meta, key, turnMs);
      try {
        return await work();
      } finally {
        // Whoever waits does so for a while only.
        await meta.commit({ expect: [{ key, version }], delete: [key] }).catch(() => undefined);
      }
    },
    async keep(name, text, instead) {
      const key = keys.storjSecret(name);
      for (;;) {
        const found = await find(name);
        if (found !== undefined && found.value !== instead) return found.value;
        const expect = [{ key, version: found?.version ?? ABSENT }];
        const result = await meta.commit({ expect, put: [{ key, value: text }] });
        if (result.ok) return text;
      }
    },
  };
}

/** Resolves with the version of the record that says whose turn it is, once that is ours. */
async function takeTurn(meta: MetaStore, key: string, turnMs: number): Promise<Revision> {
  let seen: Revision = ABSENT;
  let since = performance.now();
  for (;;) {
    const { entries } = requireFresh(await meta.get([key]));
    const version = entries[0]?.version ?? ABSENT;
    if (version !== seen) [seen, since] = [version, performance.now()];
    if (version === ABSENT || performance.now() - since > turnMs) {
      const put = [{ key, value: "{}" }];
      const result = await meta.commit({ expect: [{ key, version }], put });
      if (result.ok) return result.revision;
    }
    await Bun.sleep(LOOK_MS);
  }
}

/** For a node alone: a file that only its user may read, in the data directory, which no other process writes. */
export function fileKeeper(directory: string): CredentialKeeper {
  const path = (name: string): string => join(directory, `storj-credentials-${name}.json`);
  const read = async (name: string): Promise<string | undefined> => {
    try {
      return await readFile(path(name), "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      throw error;
    }
  };
  return {
    read,
    async keep(name, text, instead) {
      const found = await read(name);
      if (found !== undefined && found !== instead) return found;
      await makeDirectory(directory);
      const temporary = `${path(name)}.new`;
      // What a crash left may have another mode.
      await rm(temporary, { force: true });
      const file = await open(temporary, "wx", 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path(name));
      await syncDirectory(directory);
      return text;
    },
  };
}
