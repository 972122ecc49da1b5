/**
 * A bucket that one node owns: whoever serves it beats in an object, and nobody else begins while that one lives. An
 * owner that cannot beat stops answering for commits well before another may take over.
 */
import { hostname } from "node:os";
import { Beat } from "../base/beat.ts";
import { describe, type Logger } from "../base/log.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import { StoreUnavailable } from "../meta/port.ts";
import type { LastRun } from "./last-run.ts";
import { StartError } from "./start-error.ts";

const PREFIX = "owner/";
const BEAT_MS = 5000;
/** An owner whose last beat is older answers for nothing. */
const GOOD_MS = 15_000;
/** A stranger's beat has to stand still for so long before it is taken for dead; greater than `GOOD_MS`. */
const STILL_MS = 20_000;
const LOOK_MS = 1000;
const SETTLE_MS = 500;

interface OwnerRecord {
  readonly run: string;
  /** For people. */
  readonly host: string;
  readonly pid: number;
  readonly beat: number;
  /** It ended in order, and has nothing left to write. */
  readonly released: boolean;
}

interface Found {
  readonly epoch: number;
  readonly record: OwnerRecord;
}

export interface OwnerOptions {
  readonly objects: ObjectStore;
  readonly run: string;
  /** The run on this disk that owned the bucket before, if any. */
  readonly before: LastRun | undefined;
  /** For messages. */
  readonly bucket: string;
  readonly log: Logger;
  /** Called once when another has taken the bucket over, with a sentence. */
  readonly lost: (reason: string) => void;
}

export class BucketOwner implements AsyncDisposable {
  readonly #options: OwnerOptions;
  readonly #epoch: number;
  /** Whether nobody but the run before on this disk has owned the bucket since. */
  readonly continues: boolean;
  #beats = 1;
  /** Before the latest beat that is known to have arrived. */
  #good: Moment;
  #isLost = false;
  readonly #loop: Beat;

  private constructor(options: OwnerOptions, epoch: number, continues: boolean, good: Moment) {
    this.#options = options;
    this.#epoch = epoch;
    this.continues = continues;
    this.#good = good;
    this.#loop = new Beat(BEAT_MS, () => this.#beat());
  }

  /** Throws `StartError` while another process owns the bucket. */
  static async claim(options: OwnerOptions): Promise<BucketOwner> {
    const { objects, before } = options;
    for (;;) {
      const found = await latest(objects);
      const continues = found === undefined || found.record.run === before?.run;
      const isDead = found === undefined || found.record.released || (continues && before?.here);
      if (!isDead) {
        await requireDead(options, found);
      }
      const epoch = (found?.epoch ?? 0) + 1;
      const good = moment();
      const first = encode(recordOf(options.run, 1, false));
      const isFirst = await objects.put(nameOf(epoch), first, { ifAbsent: true });
      if (isFirst && (await isStillOurs(options, epoch))) {
        if (found !== undefined) await objects.delete(nameOf(found.epoch));
        return new BucketOwner(options, epoch, continues, good);
      }
    }
  }

  /** Throws `StoreUnavailable` when somebody else may own the bucket by now. To be asked after what was written. */
  requireOwned(): void {
    if (!this.#isLost && since(this.#good) < GOOD_MS) return;
    throw new StoreUnavailable(
      "the bucket has not confirmed for 15 s that this node owns it; nothing can be promised until it does",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop.stop(BEAT_MS);
    if (this.#isLost) return;
    try {
      await this.#write(true);
    } catch (error) {
      this.#options.log.warn("the bucket could not be given free; the next start waits 20 s", {
        error: describe(error),
      });
    }
  }

  async #beat(): Promise<void> {
    const { objects, run, bucket, log, lost } = this.#options;
    if (this.#isLost) return;
    const began = moment();
    try {
      const found = await latest(objects);
      if (found !== undefined && (found.epoch > this.#epoch || found.record.run !== run)) {
        this.#isLost = true;
        const { host, pid } = found.record;
        lost(`process ${pid} on ${host} has taken over the ${bucket}`);
        return;
      }
      await this.#write(false);
      this.#good = began;
    } catch (error) {
      log.warn("could not confirm to own the bucket; tried again in 5 s", {
        error: describe(error),
      });
    }
  }

  async #write(released: boolean): Promise<void> {
    this.#beats++;
    const bytes = encode(recordOf(this.#options.run, this.#beats, released));
    await this.#options.objects.put(nameOf(this.#epoch), bytes);
  }
}

/** Some stores let several win who write a name at the same moment: the last of them stays. */
async function isStillOurs({ objects, run }: OwnerOptions, epoch: number): Promise<boolean> {
  await Bun.sleep(SETTLE_MS);
  const bytes = await objects.get(nameOf(epoch));
  return bytes !== undefined && decode(bytes).run === run;
}

async function requireDead(
  { objects, bucket, log }: OwnerOptions,
  { epoch, record }: Found,
): Promise<void> {
  log.warn("waiting to see whether the last owner of the bucket still lives", {
    host: record.host,
    pid: record.pid,
    seconds: STILL_MS / 1000,
  });
  const began = performance.now();
  while (performance.now() - began < STILL_MS) {
    await Bun.sleep(LOOK_MS);
    const bytes = await objects.get(nameOf(epoch));
    if (bytes === undefined) return;
    const now = decode(bytes);
    if (now.released) return;
    if (now.beat !== record.beat) {
      throw new StartError(
        `process ${record.pid} on ${record.host} already serves the ${bucket}: stop it, choose another bucket or prefix, or add a database (metadata.postgres, metadata.etcd) to run several nodes`,
      );
    }
  }
}

async function latest(objects: ObjectStore): Promise<Found | undefined> {
  for (;;) {
    let epoch = 0;
    for await (const { name } of objects.list(PREFIX)) {
      epoch = Math.max(epoch, Number(name.slice(PREFIX.length)) || 0);
    }
    if (epoch === 0) return undefined;
    const bytes = await objects.get(nameOf(epoch));
    if (bytes !== undefined) return { epoch, record: decode(bytes) };
    // A successor has removed it meanwhile, and is in the next listing.
  }
}

/** By both clocks: the monotonic one stands still while the machine is suspended, the other one may be set back. */
interface Moment {
  readonly monotonic: number;
  readonly wall: number;
}

function moment(): Moment {
  return { monotonic: performance.now(), wall: Date.now() };
}

/** Milliseconds, by the clock that has gone further. */
function since({ monotonic, wall }: Moment): number {
  return Math.max(performance.now() - monotonic, Date.now() - wall);
}

function nameOf(epoch: number): string {
  return `${PREFIX}${epoch.toString().padStart(10, "0")}`;
}

function recordOf(run: string, beat: number, released: boolean): OwnerRecord {
  return { run, host: hostname(), pid: process.pid, beat, released };
}

function encode(record: OwnerRecord): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${JSON.stringify(record)}\n`);
}

function decode(bytes: Uint8Array): OwnerRecord {
  return JSON.parse(new TextDecoder().decode(bytes)) as OwnerRecord;
}
