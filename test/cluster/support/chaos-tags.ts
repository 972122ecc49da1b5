/** Clients that move, delete and read a few tags, and whether what they saw can have happened. */
import { isLinearizable, type Action, type Operation } from "../../shared/support/linearizable.ts";
import { imageManifest, MANIFEST_TYPE, pushBlob, sha256 } from "../../support/push.ts";
import type { Random } from "../../support/random.ts";
import { ask, decode, type Puller } from "./chaos-http.ts";

const REPOSITORY = "chaos/tags";
/** Few writers a tag, and other tags before long: each without an answer may have happened or not. */
const CLIENTS = 5;
const TAGS = 4;
const EPOCH_MS = 20_000;
const PAUSE_MS = 40;

export class TagClients {
  readonly #histories = new Map<string, Operation[]>();
  readonly #texts = new Map<string, string>();
  #isRunning = true;
  readonly #all: Promise<unknown>;

  constructor(puller: (random: Random) => Puller, randomFor: (client: number) => Random) {
    const config = new TextEncoder().encode("{}");
    const parts = { digest: sha256(config), size: config.length };
    this.#all = (async () => {
      const first = puller(randomFor(0)).nodes()[0];
      await pushBlob(first?.url ?? "", REPOSITORY, config);
      await Promise.all(
        Array.from({ length: CLIENTS }, (_, at) => this.#work(puller(randomFor(at)), at, parts)),
      );
    })();
    this.#all.catch(() => {});
  }

  /** Ends them, and judges what they saw. */
  async stop({ record }: Puller): Promise<void> {
    this.#isRunning = false;
    await this.#all;
    let unanswered = 0;
    for (const [tag, history] of this.#histories) {
      unanswered += history.filter(({ unknown }) => unknown === true).length;
      if (!isLinearizable(history))
        record.fail(`${tag} is not linearizable: ${JSON.stringify(history)}`);
    }
    const operations = [...this.#histories.values()].flat().length;
    console.log(`${this.#histories.size} tags, ${operations} operations, ${unanswered} unanswered`);
  }

  async #work(
    client: Puller,
    at: number,
    config: { readonly digest: string; readonly size: number },
  ): Promise<void> {
    const { random, record } = client;
    let seen: string | undefined;
    let turn = 0;
    while (this.#isRunning) {
      turn++;
      const epoch = Math.floor((performance.now() - record.origin) / EPOCH_MS);
      const tag = `e${epoch}-${random.int(TAGS)}`;
      const manifest = imageManifest({ config, layers: [] }).replace(
        /}$/,
        `,"annotations":{"n":"${at}.${turn}"}}`,
      );
      const operation = await this.#perform(client, tag, manifest, seen);
      const history = this.#histories.get(tag) ?? [];
      this.#histories.set(tag, history);
      history.push(operation);
      const { action, unknown } = operation;
      if (unknown !== true && (action.kind === "read" || action.kind === "write"))
        seen = action.value;
      await Bun.sleep(random.int(PAUSE_MS));
    }
  }

  async #perform(
    { random, record, nodes }: Puller,
    tag: string,
    manifest: string,
    seen: string | undefined,
  ): Promise<Operation> {
    const value = sha256(manifest);
    this.#texts.set(value, manifest);
    const how = random.pick(["move", "delete", "swap", "read", "read", "read"] as const);
    const expected = random.chance(0.3) ? undefined : seen;
    const put = { body: manifest, headers: { "Content-Type": MANIFEST_TYPE } };
    const condition: { readonly [name: string]: string } =
      expected === undefined ? { "If-None-Match": "*" } : { "If-Match": `"${expected}"` };
    const asked = {
      move: { method: "PUT", ...put },
      delete: { method: "DELETE" },
      swap: { method: "PUT", ...put, headers: { ...put.headers, ...condition } },
      read: { method: "GET" },
    }[how];
    const meant: Action = {
      move: { kind: "write", value } as const,
      delete: { kind: "delete", existed: true } as const,
      swap: { kind: "swap", expected, value, succeeded: true } as const,
      read: { kind: "read", value: undefined } as const,
    }[how];
    const node = random.pick(nodes());
    const path = `/v2/${REPOSITORY}/manifests/${tag}`;
    const answer = await ask(node, path, asked);
    record.count(`tag ${how}`);
    const { status, start, end } = answer;
    const unknown: Operation = { action: meant, start, end: Infinity, unknown: true };
    if ("reason" in answer) return unknown;
    const digest = answer.headers.get("docker-content-digest") ?? undefined;
    if (how === "read" && status === 200) {
      const text = new TextDecoder().decode(answer.bytes);
      if (digest === undefined || text !== this.#texts.get(digest))
        record.fail(`WRONG BYTES: ${path} at ${node.name} shows ${digest}: ${text}`);
    }
    if ((status === 503 && answer.headers.has("retry-after")) || status === 507) return unknown;
    // What is shown as stale claims nothing.
    if (answer.isStale) return unknown;
    const known = (action: Action): Operation => ({ action, start, end });
    switch (`${how} ${status}`) {
      case "move 201":
      case "swap 201":
      case "delete 202":
        return known(meant);
      case "delete 404":
        return known({ kind: "delete", existed: false });
      case "swap 412":
        return known({ kind: "swap", expected, value, succeeded: false });
      case "read 200":
        return known({ kind: "read", value: digest });
      case "read 404":
        return known({ kind: "read", value: undefined });
      default:
        record.fail(
          `${asked.method} ${path} at ${node.name} answered ${status}: ${decode(answer.bytes)}`,
        );
        return unknown;
    }
  }
}
