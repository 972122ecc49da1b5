/**
 * The latest revision in memory that writer and readers share, so that a reader knows without a system call
 * that what it read before is still the truth. While a group commits, the page says that nobody can know:
 * were the old revision shown until after the commit, a reader could see the new state in the database and
 * another one, later, the old state by this page.
 *
 * One aligned 8-byte store is one store on every machine we run on; a number needs no more.
 */
import { closeSync, fstatSync, openSync, writeSync } from "node:fs";
import { StoreFull } from "../port.ts";

const PAGE_BYTES = 4096;
const UNSETTLED = -1;

export class RevisionPage {
  readonly #cell: Float64Array;

  private constructor(path: string) {
    this.#cell = new Float64Array(Bun.mmap(path, { shared: true }).buffer, 0, 1);
  }

  /** The writer's; says nothing until the first `settle`. */
  static create(databasePath: string): RevisionPage {
    const path = pagePath(databasePath);
    // Never replaced, only written over: readers of this run map the same file.
    const fd = openSync(path, "a+", 0o600);
    try {
      // Written, not only sized: a page without room on the disk would end the process when it is stored to.
      if (fstatSync(fd).size < PAGE_BYTES) writeSync(fd, new Uint8Array(PAGE_BYTES));
    } catch (error) {
      throw new StoreFull(`no room for ${path}: make some on its disk`, { cause: error });
    } finally {
      closeSync(fd);
    }
    const page = new RevisionPage(path);
    page.unsettle();
    return page;
  }

  /** A reader's. */
  static open(databasePath: string): RevisionPage {
    return new RevisionPage(pagePath(databasePath));
  }

  /** The revision that every read shows now, or `undefined` while a group commits. */
  get(): number | undefined {
    const revision = this.#cell[0];
    return revision === UNSETTLED ? undefined : revision;
  }

  /** A group is about to commit. */
  unsettle(): void {
    this.#cell[0] = UNSETTLED;
  }

  /** The group has committed, or has certainly not. */
  settle(revision: number): void {
    this.#cell[0] = revision;
  }
}

function pagePath(databasePath: string): string {
  return `${databasePath}-revision`;
}
