import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BUN, MAIN } from "../support/processes.ts";
import { sha256 } from "../support/push.ts";
import { startServer } from "../support/server.ts";
import { catalog, tagsOf } from "./support/content.ts";
import { ForeignFiles } from "./support/foreign-files.ts";
import { place } from "./support/place.ts";
import { adopt, adopted } from "./support/status.ts";
import { treeOf } from "./support/tree.ts";

test("what is broken in the old directory is left out, counted and named; the rest is served", async () => {
  using here = place();
  const files = new ForeignFiles(here.data);
  const repositories = join(files.top, "repositories");
  const secret = join(here.home, "secret");
  writeFileSync(secret, "not for pulling");
  const good = files.image("good", "1.0", "the good layer");
  const absent = sha256("never written");

  // Names.
  files.image("Upper/case", "1.0", "x1");
  files.image("good", "-wrong", "x2");
  files.write(`repositories/good/_layers/sha256/nothex/link`, good.layer);
  // Kinds of files: links in place of a repository, a tag, its directory, a link file and bytes; a pipe; a plain file.
  files.image("elsewhere", "1.0", "x3");
  renameSync(join(repositories, "elsewhere"), join(here.home, "elsewhere"));
  symlinkSync(join(here.home, "elsewhere"), join(repositories, "linked"));
  symlinkSync(
    join(repositories, "good/_manifests/tags/1.0"),
    join(repositories, "good/_manifests/tags/linked"),
  );
  mkdirSync(join(repositories, "good/_manifests/tags/current-linked"));
  symlinkSync("../1.0/current", join(repositories, "good/_manifests/tags/current-linked/current"));
  mkdirSync(join(repositories, "good/_manifests/tags/file-linked/current"), { recursive: true });
  symlinkSync(
    join(repositories, "good/_manifests/tags/1.0/current/link"),
    join(repositories, "good/_manifests/tags/file-linked/current/link"),
  );
  const stolen = files.blob("to be replaced by a link");
  files.layer("good", stolen);
  rmSync(files.blobPath(stolen));
  symlinkSync(secret, files.blobPath(stolen));
  const pipe = files.blob("to be replaced by a pipe");
  files.layer("good", pipe);
  rmSync(files.blobPath(pipe));
  spawnSync("mkfifo", [files.blobPath(pipe)]);
  files.write("repositories/good/_manifests/tags/pipe/current/x", "");
  spawnSync("mkfifo", [join(repositories, "good/_manifests/tags/pipe/current/link")]);
  writeFileSync(join(repositories, "note.txt"), "a file where repositories are");
  // Texts of links.
  files.tag("good", "empty-link", "");
  files.tag("good", "garbage", "sha256:zzz");
  files.tag("good", "long", `${good.manifest}${" ".repeat(400)}`);
  files.write("repositories/good/_manifests/tags/no-link/index/x", "");
  files.layer("good", sha256("one name"), good.layer);
  // Bytes.
  files.layer("good", absent);
  files.revision("good", sha256("a manifest never written"));
  const emptied = files.blob("emptied");
  files.layer("good", emptied);
  writeFileSync(files.blobPath(emptied), "");
  const nothing = files.blob("");
  files.layer("good", nothing);
  // Manifests.
  const altered = files.image("good", "altered", "x4").manifest;
  writeFileSync(files.blobPath(altered), "{}");
  const schema1 = files.blob(JSON.stringify({ schemaVersion: 1, name: "good", fsLayers: [] }));
  files.revision("good", schema1);
  files.tag("good", "schema1", schema1);
  const noManifest = files.blob("not JSON at all");
  files.revision("good", noManifest);
  // Tags.
  files.tag("good", "dangling", absent);
  files.tag("good", "not-here", files.image("other", "1.0", "x5").manifest);
  const before = treeOf(files.top);

  await using server = await startServer({ data: here.data });
  const { flaws } = await adopted(here.data);
  expect(flaws.counts).toEqual({
    "name not valid": 3,
    "not a plain file or directory": 9,
    "link not readable as a digest": 4,
    "bytes missing": 2,
    "bytes empty": 1,
    "manifest damaged": 1,
    "manifest of schema 1": 1,
    "manifest not valid": 1,
    "tag without its manifest": 4,
  });
  expect(await catalog(server.url)).toEqual(["good", "other"]);
  expect(await tagsOf(server.url, "good")).toEqual(["1.0"]);

  const get = async (path: string): Promise<Response> => fetch(`${server.url}/v2/${path}`);
  expect(sha256(await (await get("good/manifests/1.0")).bytes())).toBe(good.manifest);
  expect(sha256(await (await get(`good/blobs/${good.layer}`)).bytes())).toBe(good.layer);
  expect((await get(`good/blobs/${nothing}`)).status).toBe(200);
  for (const digest of [stolen, pipe, absent, emptied]) {
    expect((await get(`good/blobs/${digest}`)).status).toBe(404);
  }
  for (const tag of ["linked", "current-linked", "file-linked", "pipe", "altered", "schema1"]) {
    expect((await get(`good/manifests/${tag}`)).status).toBe(404);
  }
  for (const name of ["linked", "elsewhere"]) {
    expect((await get(`${name}/manifests/1.0`)).status).toBe(404);
  }
  const status = await adopt(here.data, "--status");
  expect(status.stdout).toContain("4 × tag without its manifest");
  expect(status.stdout).toContain(`good:dangling (it names ${absent})`);
  expect(server.logs()).toContain("taken over, but for some things in it");
  expect(treeOf(files.top)).toBe(before);
}, 60_000);

test("a blob whose bytes lead to another file after it was taken over is not served", async () => {
  using here = place();
  const files = new ForeignFiles(here.data);
  const large = "l".repeat(100_000);
  const { layer } = files.image("a", "1", large);
  await using server = await startServer({ data: here.data });
  await adopted(here.data);
  const secret = join(here.home, "secret");
  writeFileSync(secret, large);
  rmSync(files.blobPath(layer));
  symlinkSync(secret, files.blobPath(layer));
  expect((await fetch(`${server.url}/v2/a/blobs/${layer}`)).status).toBe(404);
  const directory = dirname(files.blobPath(layer));
  renameSync(directory, join(here.home, "moved"));
  symlinkSync(join(here.home, "moved"), directory);
  expect((await fetch(`${server.url}/v2/a/blobs/${layer}`)).status).toBe(404);
}, 30_000);

test("a symbolic link in place of the whole layout stops the start instead of serving nothing", async () => {
  using here = place();
  new ForeignFiles(here.data).image("a", "1", "bytes");
  renameSync(join(here.data, "docker"), join(here.home, "docker"));
  symlinkSync(join(here.home, "docker"), join(here.data, "docker"));
  const child = Bun.spawnSync([
    BUN,
    MAIN,
    "serve",
    "--data",
    here.data,
    "--listen",
    "127.0.0.1:25001",
  ]);
  expect(child.exitCode).toBe(1);
  expect(child.stderr.toString()).toMatch(/docker is a symbolic link.*mount --bind/);
});

test("a directory without distribution's layout costs nothing and is not noted", async () => {
  using here = place();
  await using server = await startServer({ data: here.data });
  expect(server.logs()).not.toContain("taking over");
  expect((await adopt(here.data)).stdout).toContain("Nothing was ever taken over");
  const finish = await adopt(here.data, "--finish");
  expect(finish.stdout).toContain("there is nothing to finish");
  expect(finish.code).toBe(1);
}, 30_000);
