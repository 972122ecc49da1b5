import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench, Figure, Line, Result } from "../bench.ts";
import { alternate, registries } from "../bench.ts";
import { Connection } from "../client.ts";
import { fillRepositories, fillTags, repositoryName, tagName } from "../fill.ts";
import { expectStatus } from "../registry.ts";
import { ratio, target } from "../targets.ts";
import { wrk } from "../wrk.ts";

const page = 100;

/** A file of random `last` values, all at least one page before the end. */
const lastValues = (path: string, many: number, name: (n: number) => string): string => {
  const values = Array.from({ length: 1000 }, () =>
    name(Math.floor(Math.random() * (many - page - 1))),
  );
  writeFileSync(path, values.map((value) => `${encodeURIComponent(value)}\n`).join(""));
  return path;
};

const list = async (
  bench: Bench,
  name: string,
  path: string,
  key: "tags" | "repositories",
  entry: (n: number) => string,
): Promise<Line> => {
  const begin = `${path}?n=${page}&last=`;
  for (const server of registries(bench)) {
    const connection = await Connection.open(server.port);
    const reply = await expectStatus(
      connection,
      { method: "GET", path: begin + encodeURIComponent(entry(9)) },
      200,
    );
    const entries = (JSON.parse(reply.body.toString()) as Record<string, string[]>)[key];
    if (entries?.length !== page || entries[0] !== entry(10))
      throw new Error(
        `${server.name}: ${name} gave ${entries?.length} entries from ${entries?.[0]}`,
      );
    connection.close();
  }
  const varying = lastValues(join(bench.dir, `last-${key}`), bench.many, entry);
  return alternate(bench, {
    figure: 7,
    name,
    unit: "req/s",
    work: "request",
    servers: registries(bench),
    once: (server) =>
      wrk(server, { path: begin, varying, connections: 16, seconds: 2 * bench.seconds }),
  });
};

const run = async (bench: Bench): Promise<Result> => {
  for (const server of registries(bench)) {
    await fillTags(bench, server, "bench/many", bench.many);
    await fillRepositories(bench, server, bench.many);
  }
  const tags = await list(
    bench,
    `tags/list?n=${page}&last=… of ${bench.many} tags`,
    "/v2/bench/many/tags/list",
    "tags",
    tagName,
  );
  const catalog = await list(
    bench,
    `_catalog?n=${page}&last=… of ${bench.many} repositories`,
    "/v2/_catalog",
    "repositories",
    repositoryName,
  );
  return {
    lines: [tags, catalog],
    targets: [tags, catalog].flatMap((line) => target(7, line.name, ratio(line), { atLeast: 20 })),
  };
};

export const listings: Figure = { id: 7, title: "listings", run };
