import { linkSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "./bench.ts";
import { observed } from "./bench.ts";
import { Connection } from "./client.ts";
import type { Manifest } from "./registry.ts";
import { pushBlob, pushManifest } from "./registry.ts";
import { output } from "./processes.ts";
import { config, emptyIndex, imageManifest, imageType, indexType, randomBlob } from "./payload.ts";
import type { Server } from "./servers.ts";

/**
 * Brings a registry to many tags or repositories. Holdfast is filled over HTTP; distribution would
 * take too long for that, so its disk layout is written directly, which it reads at every request.
 */

const connections = 8;
const tagsPerManifest = 100;

/** One layer that every manifest of the filled repositories refers to. */
export const fillLayer = randomBlob(4096);

export const tagName = (n: number): string => `t${String(n).padStart(6, "0")}`;

/** A thousand repositories to an organisation. */
export const repositoryName = (n: number): string =>
  `org-${String(Math.floor(n / 1000)).padStart(3, "0")}/app-${String(n % 1000).padStart(3, "0")}`;

const inParallel = async (
  server: Server,
  count: number,
  each: (connection: Connection, n: number) => Promise<void>,
): Promise<void> => {
  let next = 0;
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const connection = await Connection.open(server.port);
      for (let n = next++; n < count; n = next++) await each(connection, n);
      connection.close();
    }),
  );
};

const manifestsOf = (data: string, repository: string): string =>
  join(data, "docker/registry/v2/repositories", repository, "_manifests");

/**
 * A tag of distribution is a folder with the link to its manifest. Its history is left out, which
 * neither listing nor pushing another tag reads; the tags of one manifest share one file (hard
 * links), because a million small files take minutes to write and to remove.
 */
const writeTag = (tags: string, tag: string, like: string): void => {
  const current = join(tags, tag, "current");
  mkdirSync(current, { recursive: true });
  linkSync(join(tags, like, "current/link"), join(current, "link"));
};

/** Writes fixtures, letting other work of this process run; and waits until they are on disk. */
const writeAll = async (count: number, write: (n: number) => void): Promise<void> => {
  for (let n = 0; n < count; n++) {
    write(n);
    if (n % 200 === 0) await Bun.sleep(0);
  }
  await output(["sync"]);
};

const exists = async (server: Server, path: string): Promise<boolean> => {
  const connection = await Connection.open(server.port);
  const headers = { Accept: `${imageType}, ${indexType}` };
  const { status } = await connection.request({ method: "HEAD", path, headers });
  connection.close();
  return status === 200;
};

/** A repository with `count` tags, `tagName(0)` and on, a hundred to a manifest. */
export const fillTags = async (
  bench: Bench,
  server: Server,
  repository: string,
  count: number,
): Promise<void> => {
  const last = `/v2/${repository}/manifests/${tagName(count - 1)}`;
  if (await exists(server, last)) return;
  bench.progress(`filling ${server.name}: ${count} tags in ${repository}`);
  const first = await Connection.open(server.port);
  for (const blob of [config, fillLayer]) await pushBlob(first, repository, blob);
  first.close();
  const manifests: Manifest[] = [];
  for (let from = 0; from < count; from += tagsPerManifest)
    manifests.push(imageManifest([fillLayer], `fill ${from}`));
  const overHttp = server.name === "holdfast";
  await observed(bench, server, () =>
    inParallel(server, manifests.length, async (connection, n) => {
      const manifest = manifests[n];
      if (manifest === undefined) return;
      const from = n * tagsPerManifest;
      const here = Math.min(tagsPerManifest, count - from);
      const tags = Array.from({ length: here }, (_, at) => `tag=${tagName(from + at)}`);
      const reference = overHttp ? `${manifest.digest}?${tags.join("&")}` : tagName(from);
      await pushManifest(connection, repository, reference, manifest);
    }),
  );
  const tags = join(manifestsOf(server.data, repository), "tags");
  if (!overHttp)
    await writeAll(count, (n) => {
      const first = n - (n % tagsPerManifest);
      if (n !== first) writeTag(tags, tagName(n), tagName(first));
    });
  if (!(await exists(server, last))) throw new Error(`${server.name} does not show ${last}`);
};

/**
 * `count` repositories, `repositoryName(0)` and on. In distribution only the first and the last have
 * a manifest: the catalog looks no further than for the folder of manifests.
 */
export const fillRepositories = async (
  bench: Bench,
  server: Server,
  count: number,
): Promise<void> => {
  const last = `/v2/${repositoryName(count - 1)}/manifests/v1`;
  if (await exists(server, last)) return;
  bench.progress(`filling ${server.name}: ${count} repositories`);
  const overHttp = server.name === "holdfast";
  await observed(bench, server, () =>
    inParallel(server, overHttp ? count : 2, (connection, n) => {
      const repository = repositoryName(overHttp || n === 0 ? n : count - 1);
      return pushManifest(connection, repository, "v1", emptyIndex);
    }),
  );
  if (!overHttp)
    await writeAll(count, (n) => {
      mkdirSync(manifestsOf(server.data, repositoryName(n)), { recursive: true });
    });
  if (!(await exists(server, last))) throw new Error(`${server.name} does not show ${last}`);
};
