import { z } from "zod";
import { actions } from "./action.ts";
import { parseAddressRange } from "./address-range.ts";
import { parseListen, type ListenAddress } from "./listen.ts";
import type { Parsed } from "./parsed.ts";
import { parsePublicUrl } from "./public-url.ts";
import { choice, count, duration, each, key, lift, path, size } from "./schema-key.ts";
import { cluster } from "./schema-cluster.ts";
import { metadata, storage } from "./schema-stores.ts";

const optionalListen = (text: string): Parsed<ListenAddress | undefined> =>
  text === "" || text === "off" ? { value: undefined } : parseListen(text);

/** The configuration file. Its input is what an operator writes, its output typed values; `resolve` adds what depends on the machine. */
export const schema = z.strictObject({
  shape: key(
    z.enum(["solo", "shared", "cluster"]).optional(),
    "How this registry is built, as an assertion: it stops the start when the rest says otherwise. A database and a bucket are `shared` (any number of nodes), the section `cluster` is `cluster` (nodes with disks of their own), everything else is `solo` (one node).",
    { form: '"solo", "shared" or "cluster"', otherwise: "not asserted" },
  ),
  listen: key(
    z
      .union([z.string(), z.array(z.string()).min(1)])
      .transform(lift(each(parseListen)))
      .prefault(":5000"),
    "Where clients connect (TCP). Port 0 takes a free one.",
    { form: 'an address such as ":5000", "127.0.0.1:5000" or "[::1]:5000", or a list of them' },
  ),
  data: path(
    "The data directory: blobs, uploads, metadata, lock and admin socket. A directory that distribution wrote is adopted in place. With a bucket (`storage`) nothing in it has to outlive the machine.",
    "`./data`; `/var/lib/holdfast` where that is a writable directory and `./data` does not exist",
  ),
  workers: key(
    z.int().min(1).max(256).optional(),
    "Processes that answer requests. Elsewhere than on Linux there is always one.",
    { form: "a whole number from 1 to 256", otherwise: "the number of cores" },
  ),
  metrics: z
    .strictObject({
      listen: key(
        z.string().transform(lift(optionalListen)).prefault("127.0.0.1:5090"),
        "Where Prometheus reads `/metrics`; never on the main port.",
        { form: 'an address such as "127.0.0.1:5090", or "off"' },
      ),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: choice(
        ["debug", "info", "warn", "error"],
        "info",
        "The least severity that is written.",
      ),
      format: choice(
        ["auto", "json", "text"],
        "auto",
        "`json`: one object a line; `text`: for people; `auto`: text on a terminal, else json.",
      ),
      requests: key(z.boolean().prefault(true), "Write one line for every request answered.", {
        form: "true or false",
      }),
    })
    .prefault({}),
  tls: z
    .strictObject({
      cert: path(
        "Certificate chain (PEM). Set together with `tls.key`; both are read and checked at the start, and again when one of them changes.",
        "none: plain HTTP",
      ),
      key: path(
        "Private key (PEM, without a passphrase) of the certificate. Set together with `tls.cert`.",
        "none: plain HTTP",
      ),
    })
    .prefault({}),
  publicUrl: key(
    z.string().transform(lift(parsePublicUrl)).optional(),
    "Where clients reach this registry, for links and token realms; never taken from the `Host` header.",
    {
      form: 'scheme and host, such as "https://registry.example.com"',
      otherwise: "relative links",
    },
  ),
  trustedProxies: key(
    z
      .array(z.string())
      .transform(lift(each(parseAddressRange)))
      .prefault([]),
    "Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.",
    { form: 'a list of IP addresses and blocks, such as ["10.0.0.0/8"]' },
  ),
  auth: z
    .strictObject({
      anonymous: key(
        z.array(z.enum(actions)).optional(),
        "What anyone may do, in every repository, without a name. What is not listed is answered with a refusal and its reason.",
        {
          form: "a list of pull, push and delete",
          otherwise:
            "`[pull, push, delete]` when every `listen` address is loopback, else `[pull, push]`",
        },
      ),
    })
    .prefault({}),
  validation: z
    .strictObject({
      missingBlobs: choice(
        ["reject", "accept"],
        "reject",
        "A pushed manifest whose config or layers are not in the repository.",
      ),
      missingManifests: choice(
        ["reject", "accept"],
        "accept",
        "A pushed index that lists manifests which are not in the repository (a sparse index).",
      ),
    })
    .prefault({}),
  drain: z
    .strictObject({
      timeout: duration(
        "25s",
        0,
        "How long requests under way may finish after SIGTERM before they are cut.",
      ),
    })
    .prefault({}),
  uploads: z
    .strictObject({
      expiry: duration(
        "24h",
        60_000,
        "An upload that received nothing for so long is gone, and its bytes with it.",
      ),
      purgeInterval: duration("1h", 1000, "How often expired uploads are looked for."),
    })
    .prefault({}),
  metadata,
  storage,
  cluster,
  collection: z
    .strictObject({
      grace: duration(
        "24h",
        60_000,
        "How far back the metadata can be rebuilt to a point in time from the journal.",
      ),
    })
    .prefault({}),
  limits: z
    .strictObject({
      manifestBytes: size(4_194_304, 1024, "Largest manifest or index (bytes); larger: 413."),
      blobBytes: size(0, 0, "Largest blob (bytes); 0 is no limit. Larger: 413."),
      referrersPageBytes: size(
        4_194_304,
        65_536,
        "Largest page of a referrers answer (bytes); the rest follows by `Link`.",
      ),
      descriptors: count(10_000, 1_000_000, "Most descriptors in one manifest or index."),
      jsonDepth: count(64, 1000, "Deepest nesting of the JSON of a manifest."),
      tagsPerPush: count(100, 10_000, "Most `?tag=` parameters of one manifest push."),
      pageEntries: count(
        10_000,
        1_000_000,
        "Longest page of a tag or catalog listing; a larger `n` is cut to it. Also the page of a tag listing without `n`.",
      ),
      catalogEntries: count(
        1000,
        1_000_000,
        "The page of `_catalog` without `n`, at most `limits.pageEntries`.",
      ),
      concurrentUploads: count(
        512,
        1_000_000,
        "Most request bodies that each worker receives at once, since they take its memory; more: 429.",
      ),
      uploadIdle: duration(
        "60s",
        1000,
        "An upload request that brings no byte for so long is cut off; at most 255s.",
      ),
      uploadRate: size(
        128,
        0,
        "Least bytes a second that an upload request has to bring, on average over `limits.uploadIdle`; a slower one is cut off. Bytes brought ahead count for up to eight times as long. 0 is no limit.",
      ),
    })
    .prefault({}),
});

export type SchemaOutput = z.output<typeof schema>;
