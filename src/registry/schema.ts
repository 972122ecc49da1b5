/** The key schema's version and the installation's own facts, settled once at start. */
import { randomHex, type Clock } from "../base/clock.ts";
import { keys, SCHEMA_VERSION } from "../meta/keys.ts";
import type { MetaStore } from "../meta/port.ts";
import { decode, encode, type InstallationRecord, type SchemaRecord } from "./records.ts";

/** The store was written by a newer program. */
export class SchemaTooNew extends Error {
  override readonly name = "SchemaTooNew";
}

/** One step that brings a store from version `from` to the next; safe to repeat after it was cut short. */
export interface SchemaStep {
  readonly from: number;
  run(meta: MetaStore): Promise<void>;
}

/** In order; a program that raises `SCHEMA_VERSION` appends one. */
const STEPS: readonly SchemaStep[] = [];

/**
 * Makes a new store ours, or brings an older one up to `version`. Any number of nodes may do it at once.
 * Throws `SchemaTooNew`.
 */
export async function prepareSchema(
  meta: MetaStore,
  clock: Clock,
  { version = SCHEMA_VERSION, steps = STEPS } = {},
): Promise<void> {
  for (;;) {
    const { entries } = await meta.get([keys.schema]);
    const schema = decode<SchemaRecord>(entries[0]);
    if (schema?.value.version === version) return;
    if (schema === undefined) {
      const installation: InstallationRecord = { id: randomHex(16), at: clock.now() };
      await meta.commit({
        expect: [{ key: keys.schema, version: 0 }],
        put: [
          { key: keys.schema, value: encode({ version } satisfies SchemaRecord) },
          { key: keys.installation, value: encode(installation) },
          { key: keys.uploadSecret, value: JSON.stringify(randomHex(32)) },
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
    await steps.find((step) => step.from === from)?.run(meta);
    await meta.commit({
      expect: [{ key: keys.schema, version: schema.version }],
      put: [{ key: keys.schema, value: encode({ version: from + 1 } satisfies SchemaRecord) }],
    });
  }
}

/** The key that signs upload sessions. */
export async function readUploadSecret(meta: MetaStore): Promise<Uint8Array<ArrayBuffer>> {
  const { entries } = await meta.get([keys.uploadSecret]);
  const secret = decode<string>(entries[0])?.value;
  if (secret === undefined) throw new Error("the store has no upload secret: prepareSchema first");
  return Uint8Array.fromHex(secret);
}
