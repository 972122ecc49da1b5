/** A worker's end of the socket: many commits a frame, answers matched by number. */
import type { Socket } from "bun";
import { FrameReader, FrameWriter } from "../../base/frames.ts";
import { type Commit, type CommitResult, StoreUnavailable } from "../port.ts";
import {
  errorOf,
  FRAME_BYTES_MAX,
  FRAME_COMMITS_MAX,
  type Reply,
  type Request,
} from "./protocol.ts";
import { withSocketName } from "../../base/socket-path.ts";

export interface LinkEvents {
  /** The store has reached `revision`; heard only while `announce(true)`. */
  readonly onRevision: (revision: number) => void;
  /** Called once when the link is gone, closed from either end. */
  readonly onGone: () => void;
}

interface Pending {
  readonly resolve: (result: CommitResult) => void;
  readonly reject: (error: unknown) => void;
}

/** Throws `StoreUnavailable` when no writer listens at `path`. */
export async function linkToCommitter(path: string, events: LinkEvents): Promise<CommitLink> {
  try {
    const socket = await withSocketName(path, (name) =>
      Bun.connect<CommitLink | undefined>({
        unix: name,
        socket: {
          open(socket) {
            socket.data = new CommitLink(socket, events);
          },
          data: (socket, bytes) => socket.data?.receive(bytes),
          drain: (socket) => socket.data?.drain(),
          close: (socket) => socket.data?.gone(),
        },
      }),
    );
    if (socket.data !== undefined) return socket.data;
    throw new StoreUnavailable(`the metadata writer on ${path} hung up`);
  } catch (error) {
    throw new StoreUnavailable(`no metadata writer answers on ${path}`, { cause: error });
  }
}

export class CommitLink {
  readonly #socket: Socket<CommitLink | undefined>;
  readonly #events: LinkEvents;
  readonly #in = new FrameReader(FRAME_BYTES_MAX);
  readonly #out: FrameWriter;
  readonly #pending = new Map<number, Pending>();
  #outbox: (readonly [number, Commit])[] = [];
  #nextId = 1;
  #gone = false;
  #idle: (() => void) | undefined;

  constructor(socket: Socket<CommitLink | undefined>, events: LinkEvents) {
    this.#socket = socket;
    this.#events = events;
    this.#out = new FrameWriter(socket);
  }

  /** Rejects with `StoreUnavailable` when the link is lost: the outcome is then unknown. */
  commit(commit: Commit): Promise<CommitResult> {
    return new Promise((resolve, reject) => {
      if (this.#gone) {
        reject(new StoreUnavailable("the metadata writer is gone"));
        return;
      }
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      this.#outbox.push([id, commit]);
      // At the end of the turn, so that its commits share a frame.
      if (this.#outbox.length === 1) setImmediate(() => this.#flush());
    });
  }

  /** Whether to hear of revisions; turning it on tells the current one. */
  announce(on: boolean): void {
    this.#send({ watch: on });
  }

  /** Waits for the answers under way, then hangs up. */
  async close(): Promise<void> {
    if (this.#pending.size > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    this.#socket.end();
    this.gone();
  }

  receive(bytes: Uint8Array): void {
    try {
      for (const text of this.#in.push(bytes)) this.#take(JSON.parse(text) as Reply);
    } catch {
      // Not our protocol: nothing after this can be trusted.
      this.#socket.terminate();
      this.gone();
    }
  }

  drain(): void {
    this.#out.drain();
  }

  gone(): void {
    if (this.#gone) return;
    this.#gone = true;
    for (const { reject } of this.#pending.values())
      reject(new StoreUnavailable("the metadata writer is gone; the commit's outcome is unknown"));
    this.#pending.clear();
    this.#idle?.();
    this.#events.onGone();
  }

  #take({ results = [], revision }: Reply): void {
    for (const [id, result] of results) {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if ("failure" in result) pending?.reject(errorOf(result));
      else pending?.resolve(result);
    }
    if (revision !== undefined) this.#events.onRevision(revision);
    if (this.#pending.size === 0) this.#idle?.();
  }

  #flush(): void {
    const commits = this.#outbox;
    this.#outbox = [];
    for (let at = 0; at < commits.length; at += FRAME_COMMITS_MAX)
      this.#send({ commits: commits.slice(at, at + FRAME_COMMITS_MAX) });
  }

  #send(request: Request): void {
    if (!this.#gone) this.#out.send(JSON.stringify(request));
  }
}
