/** The metadata database, opened for writing, with a sentence for why it cannot be. */
import { systemClock } from "../base/clock.ts";
import type { Config } from "../config/config.ts";
import { StoreCorrupt } from "../meta/port.ts";
import { openWriter } from "../meta/sqlite/index.ts";
import { prepareSchema } from "../registry/schema.ts";
import { StartError } from "./start-error.ts";
import { metadataPath } from "./stores.ts";

/** Opens, creates or upgrades it; the caller holds the data directory's lock. Throws `StartError`. */
export async function openMetadata(config: Config): Promise<ReturnType<typeof openWriter>> {
  const path = metadataPath(config);
  try {
    const writer = openWriter({ path });
    try {
      await prepareSchema(writer, systemClock);
      return writer;
    } catch (error) {
      // Of a damaged database the end fails too, and says less.
      await writer.close().catch(() => {});
      throw error;
    }
  } catch (error) {
    throw new StartError(sentence(path, error), { cause: error });
  }
}

function sentence(path: string, error: unknown): string {
  const reason = error instanceof Error ? error.message : String(error);
  return error instanceof StoreCorrupt
    ? `cannot open ${path}: ${reason}; restore the whole data directory from a backup`
    : `cannot open ${path}: ${reason}`;
}
