/** Pushes in all the ways that clients have, at whatever node. */
import { withDigest, type Init } from "../../shared/support/api.ts";
import type { TestNode } from "../../support/cluster.ts";
import { MANIFEST_TYPE, sha256 } from "../../support/push.ts";
import { type Answer, ask, decode, pull, type Puller, type Silence } from "./chaos-http.ts";
import { type Bytes, contentOf, type Item, type Outcome } from "./chaos-items.ts";

/** Until a push is given up that was told to come back. */
const PUSH_MS = 30_000;
/** Below it a blob goes in one or two pieces. */
const PIECE_MIN = 1000;

/** Not now: it may be tried again. */
class PutOff extends Error {}
/** What must not be answered. */
class Wrong extends Error {}

/** Resolves to the outcome for the item's register. */
export async function pushItem(client: Puller, item: Item): Promise<Outcome> {
  const { record, random, nodes } = client;
  const began = performance.now();
  let isUnknown = false;
  for (;;) {
    const home = random.pick(nodes());
    // A balancer gives each request to another node; a client of its own has one.
    const isSpread = random.chance(0.4);
    const at = () => (isSpread ? random.pick(nodes()) : home);
    try {
      const { image, blobs } = item.plan;
      if (image === undefined) isUnknown = true;
      for (const blob of blobs) {
        // Whether a client that was told "exists" was told the truth, its manifest shows.
        if (image === undefined || !(await isThere(client, at(), item, blob)))
          await pushBytes(client, at, item.plan.repository, blob);
      }
      if (image !== undefined) {
        isUnknown = true;
        const path = `/v2/${item.plan.repository}/manifests/${image.tag}`;
        const answer = await ask(at(), path, {
          method: "PUT",
          body: image.manifest,
          headers: { "Content-Type": MANIFEST_TYPE },
        });
        wanted(answer, "PUT", path, 201);
      }
      record.longest.push = Math.max(record.longest.push, performance.now() - began);
      // An earlier attempt may still come, but does nothing new.
      return { kind: "write", value: "there" };
    } catch (error) {
      if (error instanceof Wrong) record.fail(error.message);
      else if (!(error instanceof PutOff)) throw error;
      record.pushes.push(`${record.at()} ${error.message}`);
      record.count(error instanceof Wrong ? "push wrong" : "push put off");
      if (error instanceof Wrong || performance.now() - began > PUSH_MS)
        return isUnknown ? undefined : "nothing";
      await Bun.sleep(200);
    }
  }
}

async function isThere(
  { random }: Puller,
  node: TestNode,
  { plan: { repository } }: Item,
  { digest }: Bytes,
): Promise<boolean> {
  if (random.chance(0.7)) return false;
  const seen = await ask(node, `/v2/${repository}/blobs/${digest}`, { method: "HEAD" });
  return seen.status === 200 && !seen.isStale;
}

async function pushBytes(
  { random, record }: Puller,
  at: () => TestNode,
  repository: string,
  blob: Bytes,
): Promise<void> {
  const base = `/v2/${repository}/blobs`;
  const { digest, size } = blob;
  const bytes = contentOf(blob);
  const how = random.int(3);
  record.count(["blob POST", "blob PUT", "blob PATCH"][how] ?? "");
  const send = async (path: string, status: number, init: Init): Promise<Answer> =>
    wanted(await ask(at(), path, init), init.method ?? "", path, status);
  if (how === 0) {
    const path = `${base}/uploads/?digest=${digest}`;
    await send(path, 201, { method: "POST", body: bytes });
    return;
  }
  let path = location(await send(`${base}/uploads/`, 202, { method: "POST" }));
  if (how === 1) {
    await send(withDigest(path, digest), 201, { method: "PUT", body: bytes });
    return;
  }
  const pieces = size < PIECE_MIN ? 1 : 1 + random.int(4);
  const step = Math.ceil(size / pieces);
  for (let from = 0; from < size; from += step) {
    const body = bytes.slice(from, from + step);
    // A stream has no length that is known beforehand.
    const isStream = random.chance(0.3);
    const answer = await send(path, 202, {
      method: "PATCH",
      body: isStream ? new Blob([body]).stream() : body,
      headers: { "Content-Range": `${from}-${from + body.byteLength - 1}` },
    });
    path = location(answer);
  }
  await send(withDigest(path, digest), 201, { method: "PUT" });
}

function location({ headers }: Answer): string {
  const { pathname, search } = new URL(headers.get("location") ?? "", "http://anywhere");
  return pathname + search;
}

function wanted(answer: Answer | Silence, method: string, path: string, status: number): Answer {
  const took = Math.round(answer.end - answer.start);
  const what = `${method} ${path} at ${answer.node} (${took} ms)`;
  if ("reason" in answer) throw new PutOff(`${what}: ${answer.reason}`);
  if (answer.status === status) return answer;
  const text = `${what} answered ${answer.status}: ${decode(answer.bytes)}`;
  if (answer.status === 503 && answer.headers.has("retry-after")) throw new PutOff(text);
  // The disk is full there, or the session's only bytes were on a node that is away.
  if (answer.status === 507 || (answer.status === 404 && text.includes("BLOB_UPLOAD_UNKNOWN")))
    throw new PutOff(text);
  throw new Wrong(text);
}

export async function deleteItem(client: Puller, item: Item): Promise<Outcome> {
  const { record, random, nodes } = client;
  const answer = await ask(random.pick(nodes()), item.path, { method: "DELETE" });
  if (answer.status === 202) return { kind: "delete", existed: true };
  if (answer.status === 404) return { kind: "delete", existed: false };
  if (!("reason" in answer) && answer.status !== 503)
    record.fail(
      `DELETE ${item.path} at ${answer.node} answered ${answer.status}: ${decode(answer.bytes)}`,
    );
  return undefined;
}

/** Looks whether it is there, by tag or by digest, and compares what is shown. */
export async function readItem(client: Puller, item: Item): Promise<void> {
  const { record, random } = client;
  const { repository, image, digest } = item.plan;
  const path =
    image !== undefined && random.chance(0.5)
      ? `/v2/${repository}/manifests/${image.tag}`
      : item.path;
  const certain = item.watch();
  const method = random.chance(0.2) ? "HEAD" : "GET";
  const answer = await pull(client, path, certain, { method });
  if (answer === undefined) return;
  const what = `${method} ${path} at ${answer.node}, ${record.at(answer.start)}`;
  if (answer.status !== 200 && answer.status !== 404) {
    record.fail(`${what} answered ${answer.status}: ${decode(answer.bytes)}`);
    return;
  }
  if (answer.status === 200) {
    const shown = answer.headers.get("docker-content-digest");
    if (shown !== digest) record.fail(`${what} says it is ${shown}, not ${digest}`);
    if (method === "GET" && sha256(answer.bytes) !== digest)
      record.fail(`WRONG BYTES: ${what}: ${answer.bytes.length} that are ${sha256(answer.bytes)}`);
  }
  if (answer.isStale) {
    record.count("stale");
    return;
  }
  const isThere = answer.status === 200;
  const expected = certain();
  if (expected !== "unsure" && isThere !== (expected === "there"))
    record.fail(
      `${what} answered ${answer.status}, but it is ${expected}: ${historyOf(client, item)}`,
    );
  const { start, end } = answer;
  item.history.push({ action: { kind: "read", value: isThere ? "there" : undefined }, start, end });
}

export function historyOf({ record }: Pick<Puller, "record">, item: Item): string {
  return item.history
    .filter(({ action }) => action.kind !== "read")
    .map(({ action, start, end, unknown }) =>
      [action.kind, record.at(start), unknown === true ? "unanswered" : record.at(end)].join(" "),
    )
    .join("; ");
}
