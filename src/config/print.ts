import { Document, isMap, isScalar, isSeq, visit } from "yaml";
import { formatAddressRange } from "./address-range.ts";
import type { Config } from "./config.ts";
import { formatDuration } from "./duration.ts";
import { formatListen } from "./listen.ts";
import { writtenStores } from "./print-stores.ts";
import { isMasked } from "./secret.ts";

/**
 * The configuration as a YAML file that gives the same configuration again. With `sources` (of `loadConfig`), a comment
 * behind each key says who set it. In place of a secret that does not come from a file stands its length, which is refused as
 * a value.
 */
export function printConfig(config: Config, sources?: ReadonlyMap<string, string>): string {
  const document = new Document(written(config), { aliasDuplicateObjects: false });
  visit(document, {
    Seq: (_, list) => void (list.flow = true),
    Scalar: (at, scalar) => {
      if (at !== "key" && typeof scalar.value === "string" && !isPlain(scalar.value))
        scalar.type = "QUOTE_DOUBLE";
    },
  });
  if (sources) comment(document.contents, "", sources);
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

/** Whether every reader of YAML, 1.1 and 1.2, takes the bare text for just that text. */
function isPlain(text: string): boolean {
  return /^[a-z/][\w./-]*$|^\d+(?:ms|[smhd])$/i.test(text) && !notText.test(text);
}

const notText = /^(?:y|yes|n|no|on|off|true|false|null)$/i;

function written(config: Config): Record<string, unknown> {
  const { limits } = config;
  return {
    shape: config.shape,
    listen: config.listen.map(formatListen),
    data: config.data,
    workers: config.workers,
    metrics: { listen: config.metrics.listen ? formatListen(config.metrics.listen) : "off" },
    log: config.log,
    ...(config.tls && { tls: config.tls }),
    ...(config.publicUrl !== undefined && { publicUrl: config.publicUrl }),
    trustedProxies: config.trustedProxies.map(formatAddressRange),
    auth: { anonymous: config.auth.anonymous },
    validation: config.validation,
    drain: { timeout: formatDuration(config.drain.timeout) },
    uploads: {
      expiry: formatDuration(config.uploads.expiry),
      purgeInterval: formatDuration(config.uploads.purgeInterval),
    },
    ...writtenStores(config.stores),
    collection: { grace: formatDuration(config.collection.grace) },
    limits: { ...limits, uploadIdle: formatDuration(limits.uploadIdle) },
  };
}

function comment(node: unknown, parents: string, sources: ReadonlyMap<string, string>): void {
  if (!isMap(node)) return;
  for (const { key, value } of node.items) {
    const path = `${parents}${String(key)}`;
    const source = sources.get(path);
    if (isMap(value) && source !== undefined) {
      value.flow = true;
      value.comment = ` ${source}`;
    } else if (isMap(value)) comment(value, `${path}.`, sources);
    // A password that stands in an address is printed beside it, but nobody set its key.
    else if (source === "default" && isScalar(value) && isMasked(String(value.value))) continue;
    else if (source !== undefined && (isScalar(value) || isSeq(value)))
      value.comment = ` ${source}`;
  }
}
