import { dlopen, FFIType, ptr } from "bun:ffi";

/**
 * `bun drain.ts PORT PATH TIMES`: GETs a path of 127.0.0.1 again and again on one connection and
 * prints the status, body length and seconds of each as a line of JSON. The bodies are dropped in
 * the kernel (MSG_TRUNC, tcp(7)), because a client that copies them, as curl does, is slower than a
 * server that uses sendfile. Blocking calls, so it is a process of its own.
 */
const libc = dlopen("libc.so.6", {
  socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  connect: { args: [FFIType.i32, FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
  send: { args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i64 },
  recv: { args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i64 },
}).symbols;

const inet = 2;
const stream = 1;
const truncate = 0x20;
const pieces = 2 ** 22;

const [port = "", path = "", times = ""] = process.argv.slice(2);

const connect = (): number => {
  const fd = libc.socket(inet, stream, 0);
  // struct sockaddr_in: family in the machine's order, port and address in the network's (ip(7)).
  const address = new DataView(new ArrayBuffer(16));
  address.setUint16(0, inet, true);
  address.setUint16(2, Number(port));
  address.setUint32(4, 0x7f000001);
  if (libc.connect(fd, ptr(address), 16) !== 0) throw new Error(`cannot connect to port ${port}`);
  return fd;
};

const fd = connect();
const request = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
const buffer = Buffer.alloc(65_536);

const receive = (target: Buffer, length: number, flags: number): number => {
  const received = Number(libc.recv(fd, ptr(target), length, flags));
  if (received <= 0) throw new Error("the server closed the connection");
  return received;
};

/** Drops so many bytes of the body. */
const drop = (length: number): void => {
  for (let left = length; left > 0;) left -= receive(buffer, Math.min(pieces, left), truncate);
};

/** Drops a chunked body, of which some bytes are here already; returns its length. */
const dropChunks = (begun: Buffer): number => {
  let here = begun;
  for (let total = 0; ;) {
    let end = here.indexOf("\r\n");
    while (end < 0) {
      const more = Buffer.alloc(16);
      here = Buffer.concat([here, more.subarray(0, receive(more, more.length, 0))]);
      end = here.indexOf("\r\n");
    }
    const size = Number.parseInt(here.toString("latin1", 0, end), 16);
    const left = end + 2 + size + 2 - here.length;
    here = left < 0 ? here.subarray(left) : Buffer.alloc(0);
    drop(left);
    if (size === 0) return total;
    total += size;
  }
};

for (let n = 0; n < Number(times); n++) {
  const began = performance.now();
  if (Number(libc.send(fd, ptr(request), request.length, 0)) !== request.length)
    throw new Error("cannot send");
  let have = 0;
  let end = -1;
  while (end < 0) {
    have += receive(buffer.subarray(have), buffer.length - have, 0);
    end = buffer.subarray(0, have).indexOf("\r\n\r\n");
  }
  const head = buffer.toString("latin1", 0, end);
  const begun = buffer.subarray(end + 4, have);
  let length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
  if (/transfer-encoding: chunked/i.test(head)) length = dropChunks(Buffer.from(begun));
  else drop(length - begun.length);
  const seconds = (performance.now() - began) / 1000;
  console.log(JSON.stringify({ status: Number(head.slice(9, 12)), length, seconds }));
}
