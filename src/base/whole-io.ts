/** Reads and writes that are not short. */
import fs from "node:fs";

/** Writes all bytes at `position`; returns how many. */
export function writeWhole(fd: number, bytes: Uint8Array, position: number): number {
  let done = 0;
  while (done < bytes.byteLength) {
    done += fs.writeSync(fd, bytes, done, bytes.byteLength - done, position + done);
  }
  return done;
}

/** Writes all bytes at `position`, off the event loop. */
export async function writeWholeAsync(
  fd: number,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    done += await new Promise<number>((resolve, reject) => {
      const length = bytes.byteLength - done;
      fs.write(fd, bytes, done, length, position + done, (error, written) =>
        error ? reject(error) : resolve(written),
      );
    });
  }
}

/** The first `size` bytes of a file. Throws when it has fewer. */
export function readWhole(fd: number, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let done = 0; done < size;) {
    const read = fs.readSync(fd, bytes, done, size - done, done);
    if (read === 0) throw new Error(`the file ends after ${done} of ${size} bytes`);
    done += read;
  }
  return bytes;
}

/** As `readWhole`, off the event loop. */
export async function readWholeAsync(fd: number, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(size);
  for (let done = 0; done < size;) {
    const read = await new Promise<number>((resolve, reject) => {
      fs.read(fd, bytes, done, size - done, done, (error, count) =>
        error ? reject(error) : resolve(count),
      );
    });
    if (read === 0) throw new Error(`the file ends after ${done} of ${size} bytes`);
    done += read;
  }
  return bytes;
}

/** The bytes of a file at `position`, fewer than `length` only at its end. */
export function readAt(fd: number, length: number, position: number): Buffer<ArrayBuffer> {
  // Memory of its own: part of it may be handed on.
  const bytes = Buffer.from(new ArrayBuffer(length));
  let done = 0;
  while (done < length) {
    const read = fs.readSync(fd, bytes, done, length - done, position + done);
    if (read === 0) break;
    done += read;
  }
  return bytes.subarray(0, done);
}
