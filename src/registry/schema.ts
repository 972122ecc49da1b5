/** The key schema's version and the installation's own facts, settled once at start. */
import { randomHex, type Clock } from "../base/clock.ts";
import { requireFresh } from "../meta/fresh.ts";
import { keys, SCHEMA_VERSION } from "../meta/keys.ts";
import type { MetaStore } from "../meta/port.ts";
import { decode, encode, type InstallationRecord, type SchemaRecord } from "./records.ts";

/** The store was written by a newer program. */
export class SchemaTooNew extends Error {
  override readonly name = "SchemaTooNew";
}

/** A rebuild of the store was cut short. */
export class StoreHalfRestored extends Error {
  override readonly name = "StoreHalfRestored";
}

/** One step that brings a store from version `from` to the next; safe to repeat after it was cut short. */
export interface SchemaStep {
  readonly from: number;
  run(meta: MetaStore): Promise<void>;
}

/** One from every version before `SCHEMA_VERSION`. */
const STEPS: readonly SchemaStep[] = [];

/**
 * Makes a new store ours, or brings an older one up to `version`. Any number of nodes may do it at once.
 * Throws `SchemaTooNew` and `StoreHalfRestored`.
 */
export async function prepareSchema(
  meta: MetaStore,
  clock: Clock,
  { version = SCHEMA_VERSION, steps = STEPS } = {},
): Promise<void> {
  for (;;) {
    const { entries } = requireFresh(
      await meta.get([keys.schema, keys.uploadSecret, keys.restoring]),
    );
    const schema = decode<SchemaRecord>(entries[0]);
    if (entries[2] !== undefined) {
      throw new StoreHalfRestored(
        "the metadata is only half rebuilt: run `holdfast rebuild`, or `holdfast restore`, again, which starts anew",
      );
    }
    if (schema !== undefined && entries[1] === undefined) {
      // Rebuilt from the journal, which keeps no secrets.
      await meta.commit({
        expect: [{ key: keys.uploadSecret, version: 0 }],
        put: [{ key: keys.uploadSecret, value: newSecret() }],
      });
      continue;
    }
    if (schema?.value.version === version) return;
    if (schema === undefined) {
      const installation: InstallationRecord = { id: randomHex(16), at: clock.now() };
      await meta.commit({
        expect: [{ key: keys.schema, version: 0 }],
        put: [
          { key: keys.schema, value: encode({ version } satisfies SchemaRecord) },
          { key: keys.installation, value: encode(installation) },
          { key: keys.uploadSecret, value: newSecret() },
        ],
      });
      continue;
    }
    const from = schema.value.version;
    if (from > version) {
      throw new SchemaTooNew(
        `the metadata has schema version ${from}, this program knows up to ${version}: start the newer Holdfast that wrote it`,
      );
    }
    const step = steps.find((one) => one.from === from);
    if (step === undefined) throw new Error(`no step leads on from schema version ${from}`);
    await step.run(meta);
    await meta.commit({
      expect: [{ key: keys.schema, version: schema.version }],
      put: [{ key: keys.schema, value: encode({ version: from + 1 } satisfies SchemaRecord) }],
    });
  }
}

function newSecret(): string {
  return JSON.stringify(randomHex(32));
}

/** The id of the installation that a store belongs to; `undefined` for a new store. */
export async function findInstallation(meta: MetaStore): Promise<string | undefined> {
  const { entries } = requireFresh(await meta.get([keys.installation]));
  return decode<InstallationRecord>(entries[0])?.value.id;
}

/** The same of a store that has been through `prepareSchema`. */
export async function readInstallation(meta: MetaStore): Promise<string> {
  const id = await findInstallation(meta);
  if (id === undefined) throw new Error("the store names no installation: prepareSchema first");
  return id;
}

/** The key that signs upload sessions. */
export async function readUploadSecret(meta: MetaStore): Promise<Uint8Array<ArrayBuffer>> {
  const { entries } = await meta.get([keys.uploadSecret]);
  const secret = decode<string>(entries[0])?.value;
  if (secret === undefined) throw new Error("the store has no upload secret: prepareSchema first");
  return Uint8Array.fromHex(secret);
}
