/** Notes on uploads in the metadata: one record each, whose version fences its holder. */
import { keys } from "../../meta/keys.ts";
import {
  ABSENT,
  StoreFull,
  StoreUnavailable,
  type Commit,
  type Entry,
  type MetaStore,
  type Revision,
} from "../../meta/port.ts";
import { BlobStoreFull, BlobStoreUnavailable, UploadBusy } from "../port.ts";
import {
  HoldLost,
  type HeldNote,
  type NotedUpload,
  type Turn,
  type UploadNotes,
  type UploadState,
} from "./upload-notes.ts";

export interface MetaNotesOptions {
  readonly meta: MetaStore;
  /** Names this process among all of the installation, now and ever; no other store of it uses the name. */
  readonly run: string;
  /** Whether the process of that name may still be at work. */
  isAlive(run: string): Promise<boolean>;
}

/** The record's value. */
interface Note {
  readonly at: number;
  readonly state?: UploadState | undefined;
  readonly turn?: Turn | undefined;
  /** The holder. */
  readonly run?: string | undefined;
}

const PAGE = 500;
/** How often a hold that could not be given up is tried to be, in milliseconds. */
const AGAIN_MS = 1000;

export function openMetaNotes(options: MetaNotesOptions): UploadNotes {
  return new MetaNotes(options);
}

class MetaNotes implements UploadNotes {
  readonly #options: MetaNotesOptions;
  /** What this process holds: id and the version of its record. */
  readonly #held = new Set<string>();
  #hasClosed = false;

  constructor(options: MetaNotesOptions) {
    this.#options = options;
  }

  async hold(id: string, turn: Turn): Promise<HeldNote> {
    const { run } = this.#options;
    for (;;) {
      const entry = await this.#read(id);
      const before = noteOf(entry);
      if (before?.run !== undefined && (await this.#isHeld(id, before.run))) {
        throw new UploadBusy(`upload ${id} is in use by another request`);
      }
      const note: Note = { at: Date.now(), state: before?.state, turn, run };
      // Said before the commit, so that nobody in this process takes the record for one that was left behind.
      if (this.#held.has(id)) throw new UploadBusy(`upload ${id} is in use by another request`);
      this.#held.add(id);
      let version: Revision | undefined;
      try {
        version = await this.#write(id, entry?.version ?? ABSENT, note);
      } catch (error) {
        void this.#letGoLater(id, async () => this.#undo(id, turn, before));
        throw error;
      }
      if (version !== undefined) return this.#heldNote(id, version, before);
      this.#held.delete(id);
    }
  }

  async read(id: string): Promise<NotedUpload | undefined> {
    const note = noteOf(await this.#read(id));
    return note && noted(id, note);
  }

  async *list(): AsyncIterable<NotedUpload> {
    let after: string | undefined;
    for (;;) {
      const page = await guarded(
        this.#options.meta.scan({
          prefix: keys.multiparts,
          limit: PAGE,
          ...(after === undefined ? {} : { after }),
        }),
      );
      for (const entry of page.entries) {
        const note = noteOf(entry);
        if (note) yield noted(entry.key.slice(keys.multiparts.length), note);
      }
      if (!page.more) return;
      after = page.entries.at(-1)?.key;
    }
  }

  async close(): Promise<void> {
    this.#hasClosed = true;
  }

  async #isHeld(id: string, run: string): Promise<boolean> {
    return run === this.#options.run ? this.#held.has(id) : guarded(this.#options.isAlive(run));
  }

  #heldNote(id: string, first: Revision, before: Note | undefined): HeldNote {
    let version = first;
    const write = async (note: Note | undefined): Promise<void> => {
      const next = await this.#write(id, version, note);
      if (next === undefined) throw lost(id);
      version = next;
    };
    const letGo = async (note: Note | undefined): Promise<void> => {
      try {
        await write(note);
        this.#held.delete(id);
      } catch (error) {
        if (!(error instanceof BlobStoreUnavailable) || error instanceof HoldLost) {
          this.#held.delete(id);
        } else {
          void this.#letGoLater(id, () => write(note));
        }
        throw error;
      }
    };
    const { run } = this.#options;
    const state = before?.state;
    return {
      id,
      state,
      broken: before?.turn,
      save: (turn) =>
        write({ at: Date.now(), ...(turn.garbage === undefined && { state }), turn, run }),
      leave: (turn = before?.turn) =>
        letGo({ at: Date.now(), ...(turn?.garbage === undefined && { state }), turn }),
      release: (after) => letGo({ at: Date.now(), state: after }),
      end: () => letGo(undefined),
    };
  }

  /** Takes back a hold that nobody has, where its commit turns out to have succeeded. */
  async #undo(id: string, turn: Turn, before: Note | undefined): Promise<void> {
    const entry = await this.#read(id);
    if (entry === undefined || noteOf(entry)?.turn?.stem !== turn.stem) return;
    const note = before && { at: Date.now(), state: before.state, turn: before.turn };
    await this.#write(id, entry.version, note);
  }

  /** A record that says that this process holds it is believed by the others for as long as it runs. */
  async #letGoLater(id: string, write: () => Promise<void>): Promise<void> {
    while (!this.#hasClosed) {
      await Bun.sleep(AGAIN_MS);
      try {
        await write();
        break;
      } catch (error) {
        if (!(error instanceof BlobStoreUnavailable) || error instanceof HoldLost) break;
      }
    }
    this.#held.delete(id);
  }

  async #read(id: string): Promise<Entry | undefined> {
    const { entries } = await guarded(this.#options.meta.get([keys.multipart(id)]));
    return entries[0];
  }

  /** The record's new version; `undefined` when it was not the one expected, and nothing was written. */
  async #write(
    id: string,
    version: Revision,
    note: Note | undefined,
  ): Promise<Revision | undefined> {
    const key = keys.multipart(id);
    const value = JSON.stringify(note);
    const commit: Commit = {
      expect: [{ key, version }],
      ...(note === undefined ? { delete: [key] } : { put: [{ key, value }] }),
    };
    const result = await guarded(this.#options.meta.commit(commit));
    if (result.ok) return result.revision;
    // An earlier try may have succeeded without our hearing of it; stems make every value one of its own.
    const entry = await this.#read(id);
    if (note === undefined) return entry === undefined ? version : undefined;
    return entry?.value === value ? entry.version : undefined;
  }
}

function lost(id: string): HoldLost {
  return new HoldLost(
    `upload ${id} was taken over by another node; nothing of this request is kept`,
  );
}

function noteOf(entry: Entry | undefined): Note | undefined {
  return entry && (JSON.parse(entry.value) as Note);
}

function noted(id: string, { at, state, turn }: Note): NotedUpload {
  return { id, modified: at, state, turn };
}

async function guarded<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof StoreFull) throw new BlobStoreFull(error.message, { cause: error });
    if (error instanceof StoreUnavailable) {
      throw new BlobStoreUnavailable(`uploads cannot be noted: ${error.message}`, { cause: error });
    }
    throw error;
  }
}
