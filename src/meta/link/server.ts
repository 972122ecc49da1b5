/** The committing process's end of the socket: takes the workers' commits, answers them, announces revisions. */
import { chmodSync, rmSync } from "node:fs";
import type { Socket } from "bun";
import { FrameReader, FrameWriter } from "../../base/frames.ts";
import { failureOf, FRAME_BYTES_MAX, type Reply, type Request } from "./protocol.ts";
import { withSocketName } from "../../base/socket-path.ts";
import type { Commit, CommitResult } from "../port.ts";

/** Where the workers' commits go. */
export interface Committer {
  commit(commit: Commit): Promise<CommitResult>;
  /** The latest revision and every one after it, for engines whose workers cannot hear of them otherwise. */
  readonly revisions?:
    | {
        readonly revision: number;
        onRevision(listener: (revision: number) => void): () => void;
      }
    | undefined;
}

export interface CommitServer {
  /** Stops listening, cuts the workers off and removes the socket. */
  close(): void;
}

/** Serves `committer` on a unix socket at `path` (mode 0600); a socket left there by a dead process is replaced. */
export async function serveCommits(committer: Committer, path: string): Promise<CommitServer> {
  const workers = new Set<Worker>();
  rmSync(path, { force: true });
  const listener = await withSocketName(path, (name) =>
    Bun.listen<Worker>({
      unix: name,
      socket: {
        open(socket) {
          socket.data = new Worker(committer, socket);
          workers.add(socket.data);
        },
        data: (socket, bytes) => socket.data.receive(bytes),
        drain: (socket) => socket.data.drain(),
        close(socket) {
          workers.delete(socket.data);
        },
      },
    }),
  );
  chmodSync(path, 0o600);
  const forget = committer.revisions?.onRevision((revision) => {
    for (const worker of workers) worker.announce(revision);
  });
  return {
    close() {
      forget?.();
      listener.stop(true);
      rmSync(path, { force: true });
    },
  };
}

class Worker {
  readonly #committer: Committer;
  readonly #socket: Socket<Worker>;
  readonly #in = new FrameReader(FRAME_BYTES_MAX);
  readonly #out: FrameWriter;
  #watches = false;
  #results: NonNullable<Reply["results"]>[number][] = [];
  #revision: number | undefined;
  #scheduled = false;

  constructor(committer: Committer, socket: Socket<Worker>) {
    this.#committer = committer;
    this.#socket = socket;
    this.#out = new FrameWriter(socket);
  }

  receive(bytes: Uint8Array): void {
    try {
      for (const text of this.#in.push(bytes)) this.#take(JSON.parse(text) as Request);
    } catch {
      // Not our protocol: nothing after this can be trusted.
      this.#socket.terminate();
    }
  }

  drain(): void {
    this.#out.drain();
  }

  announce(revision: number): void {
    if (!this.#watches) return;
    this.#revision = revision;
    this.#schedule();
  }

  #take({ commits = [], watch }: Request): void {
    if (watch !== undefined) {
      this.#watches = watch;
      this.announce(this.#committer.revisions?.revision ?? 0);
    }
    for (const [id, commit] of commits)
      this.#committer.commit(commit).then(
        (result) => this.#answer([id, result]),
        (error: unknown) => this.#answer([id, failureOf(error)]),
      );
  }

  #answer(result: NonNullable<Reply["results"]>[number]): void {
    this.#results.push(result);
    this.#schedule();
  }

  /** One frame for all that a group has settled: its answers are all queued before this microtask. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      const reply: Reply = {
        results: this.#results,
        ...(this.#revision === undefined ? {} : { revision: this.#revision }),
      };
      this.#results = [];
      this.#revision = undefined;
      this.#out.send(JSON.stringify(reply));
    });
  }
}
