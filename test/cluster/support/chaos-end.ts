/** What must be true when all is over: what was acknowledged is at every node, what was deleted at none. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestNode } from "../../support/cluster.ts";
import { sha256 } from "../../support/push.ts";
import { ask, type Record } from "./chaos-http.ts";
import { type Bytes, type Item } from "./chaos-items.ts";
import { historyOf } from "./chaos-push.ts";

const AT_ONCE = 8;
/** Blobs of at least so many bytes are files of their own. */
const FILE_MIN = 70_000;

export async function expectAll(
  items: readonly Item[],
  nodes: readonly TestNode[],
  record: Record,
): Promise<void> {
  const left = [...items];
  const work = async (): Promise<void> => {
    for (let item = left.pop(); item !== undefined; item = left.pop())
      await expectItem(item, nodes, record);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  for (const node of nodes) expectFiles(node, items, record);
}

async function expectItem(item: Item, nodes: readonly TestNode[], record: Record): Promise<void> {
  const { repository, digest, image, blobs } = item.plan;
  const seen = new Set<boolean>();
  for (const node of nodes) {
    const paths = [item.path];
    if (image !== undefined) paths.push(`/v2/${repository}/manifests/${image.tag}`);
    for (const path of paths) {
      const answer = await ask(node, path);
      seen.add(answer.status === 200);
      const what = `at the end ${path} at ${node.name} answered ${answer.status}`;
      const history = historyOf({ record }, item);
      if (answer.status !== 200 && answer.status !== 404) record.fail(what);
      if (item.state !== "unsure" && (answer.status === 200) !== (item.state === "there"))
        record.fail(`${what}, but it is ${item.state}: ${history}`);
      if (answer.status === 200 && sha256(answer.bytes) !== digest)
        record.fail(`WRONG BYTES: ${what} with ${sha256(answer.bytes)}`);
    }
    if (seen.has(true) && image !== undefined)
      for (const blob of blobs) await expectBlob(node, item, blob, record);
  }
  if (seen.size > 1) record.fail(`at the end the nodes disagree on ${item.path}`);
}

async function expectBlob(node: TestNode, item: Item, blob: Bytes, record: Record): Promise<void> {
  const path = `/v2/${item.plan.repository}/blobs/${blob.digest}`;
  const answer = await ask(node, path);
  const what = `at the end ${path} at ${node.name} answered ${answer.status}`;
  if (answer.status !== 200)
    record.fail(`${what}; its image is ${item.state}: ${historyOf({ record }, item)}`);
  else if (sha256(answer.bytes) !== blob.digest) record.fail(`WRONG BYTES: ${what}`);
}

/** Each disk holds every large blob, and nothing under a wrong name. */
function expectFiles(node: TestNode, items: readonly Item[], record: Record): void {
  const held = new Set<string>();
  for (const entry of readdirSync(join(node.data, "blobs"), {
    recursive: true,
    withFileTypes: true,
  })) {
    const hex = /^([0-9a-f]{64})\./.exec(entry.name)?.[1];
    if (!entry.isFile() || hex === undefined) continue;
    const actual = sha256(readFileSync(join(entry.parentPath, entry.name)));
    held.add(actual);
    if (actual !== `sha256:${hex}`)
      record.fail(`${node.name} has ${entry.name}, which is ${actual}`);
  }
  for (const { state, plan } of items)
    for (const { digest, size } of plan.blobs)
      if (state === "there" && size >= FILE_MIN && !held.has(digest))
        record.fail(`${node.name} lacks ${digest} (${size} bytes) of ${plan.digest}`);
}
