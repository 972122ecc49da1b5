/** For tests: a `MetaStore` whose work is done by a client in a process of its own. */
import {
  type Change,
  type Commit,
  type CommitResult,
  type GetResult,
  type MetaStore,
  RevisionCompacted,
  type ScanOptions,
  type ScanResult,
} from "../../port.ts";

export type Asked = { readonly id: number } & (
  | { readonly method: "get"; readonly argument: readonly string[] }
  | { readonly method: "scan"; readonly argument: ScanOptions }
  | { readonly method: "commit"; readonly argument: Commit }
  | { readonly method: "watch"; readonly argument: { prefix: string; after: number } }
  | { readonly method: "unwatch"; readonly argument: number }
  | { readonly method: "close" }
);
type Question = Asked extends infer One ? (One extends Asked ? Omit<One, "id"> : never) : never;

export interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
  readonly compacted?: boolean;
}

export class RemoteStore implements MetaStore {
  readonly operationsMax: number;
  readonly #ask: (asked: Asked) => void;
  readonly #answers: Map<number, (answer: Answer) => void>;
  #nextId = 1;

  private constructor(
    operationsMax: number,
    ask: (asked: Asked) => void,
    answers: Map<number, (answer: Answer) => void>,
  ) {
    this.operationsMax = operationsMax;
    this.#ask = ask;
    this.#answers = answers;
  }

  static async start(path: string, socket: string): Promise<RemoteStore> {
    const answers = new Map<number, (answer: Answer) => void>();
    const started = Promise.withResolvers<Answer>();
    answers.set(0, started.resolve);
    const child = Bun.spawn([process.execPath, `${import.meta.dir}/store.ts`, path, socket], {
      stdio: ["ignore", "inherit", "inherit"],
      ipc: (answer: Answer) => answers.get(answer.id)?.(answer),
      onExit(_, code) {
        const error = `the client process ended with ${code}`;
        for (const [id, settle] of answers) settle({ id, error });
      },
    });
    const { value } = await started.promise;
    return new RemoteStore(value as number, (asked) => child.send(asked), answers);
  }

  get(keys: readonly string[]): Promise<GetResult> {
    return this.#call({ method: "get", argument: keys });
  }

  scan(options: ScanOptions): Promise<ScanResult> {
    return this.#call({ method: "scan", argument: options });
  }

  commit(commit: Commit): Promise<CommitResult> {
    return this.#call({ method: "commit", argument: commit });
  }

  async *watch({
    prefix,
    after,
    signal,
  }: Parameters<MetaStore["watch"]>[0]): AsyncIterable<Change> {
    const id = this.#nextId++;
    const queue: Answer[] = [];
    let wake = () => {};
    this.#answers.set(id, (answer) => {
      queue.push(answer);
      wake();
    });
    const stop = () => this.#ask({ id, method: "unwatch", argument: id });
    signal.addEventListener("abort", stop);
    try {
      this.#ask({ id, method: "watch", argument: { prefix, after } });
      if (signal.aborted) stop();
      for (;;) {
        const answer = queue.shift();
        if (answer === undefined) await new Promise<void>((resolve) => (wake = resolve));
        else if (answer.error !== undefined) throw failure(answer);
        else if (answer.value === undefined) return;
        else yield answer.value as Change;
      }
    } finally {
      signal.removeEventListener("abort", stop);
      this.#answers.delete(id);
      stop();
    }
  }

  close(): Promise<void> {
    return this.#call({ method: "close" });
  }

  #call<T>(question: Question): Promise<T> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#answers.set(id, (answer) => {
        this.#answers.delete(id);
        if (answer.error === undefined) resolve(answer.value as T);
        else reject(failure(answer));
      });
      this.#ask({ id, ...question });
    });
  }
}

function failure({ error, compacted }: Answer): Error {
  return compacted ? new RevisionCompacted(error) : new Error(error);
}
