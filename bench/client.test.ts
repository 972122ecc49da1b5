import { afterAll, expect, test } from "bun:test";
import { Connection } from "./client.ts";

/** A server that answers by the path, and counts its connections. */
let connections = 0;
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const ok = "HTTP/1.1 200 OK\r\n";
const replies: Record<string, string> = {
  "/length": `${ok}Content-Length: 5\r\nX-Name: a value\r\n\r\nhello`,
  "/chunked": `${ok}Transfer-Encoding: chunked\r\n\r\n${chunk("hello")}${chunk(" world")}0\r\n\r\n`,
  "/close": `${ok}Connection: close\r\nContent-Length: 2\r\n\r\nhi`,
  "/empty": "HTTP/1.1 204 No Content\r\n\r\n",
};

const server = Bun.listen<{ seen: string }>({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open(socket) {
      connections++;
      socket.data = { seen: "" };
    },
    async data(socket, bytes) {
      socket.data.seen += bytes.toString("latin1");
      const [, path = "", length] =
        /^\w+ (\S+) [^]*?\r\n(?:Content-Length: (\d+)\r\n)?\r\n/.exec(socket.data.seen) ?? [];
      const head = socket.data.seen.indexOf("\r\n\r\n") + 4;
      if (head < 4 || socket.data.seen.length < head + Number(length ?? 0)) return;
      const body = socket.data.seen.length - head;
      socket.data.seen = "";
      if (path === "/hang-up") {
        socket.end();
        return;
      }
      const reply =
        path === "/count"
          ? `${ok}Content-Length: 8\r\n\r\n${String(body).padStart(8)}`
          : replies[path];
      // One byte at a time in the middle, so that every boundary is met.
      for (const part of (reply ?? "").match(/[^]{1,7}/g) ?? []) {
        socket.write(part);
        await Bun.sleep(0);
      }
    },
  },
});
afterAll(() => server.stop(true));

test("bodies by length, in chunks and absent, on one connection", async () => {
  const before = connections;
  const connection = await Connection.open(server.port);
  const first = await connection.request({ method: "GET", path: "/length" });
  expect(first.status).toBe(200);
  expect(first.header("x-name")).toBe("a value");
  expect(first.header("x-other")).toBeUndefined();
  expect(first.body.toString()).toBe("hello");
  const second = await connection.request({ method: "GET", path: "/chunked" });
  expect(second.body.toString()).toBe("hello world");
  const third = await connection.request({ method: "DELETE", path: "/empty" });
  expect(third.status).toBe(204);
  const fourth = await connection.request({ method: "GET", path: "/length" });
  expect(fourth.body.toString()).toBe("hello");
  expect(connections).toBe(before + 1);
  connection.close();
});

test("a body larger than the socket's buffer arrives whole", async () => {
  const connection = await Connection.open(server.port);
  const body = new Uint8Array(8_000_000);
  const reply = await connection.request({ method: "PUT", path: "/count", body });
  expect(Number(reply.body.toString())).toBe(body.length);
  connection.close();
});

test("connects again after Connection: close", async () => {
  const before = connections;
  const connection = await Connection.open(server.port);
  await connection.request({ method: "GET", path: "/close" });
  const reply = await connection.request({ method: "GET", path: "/length" });
  expect(reply.body.toString()).toBe("hello");
  expect(connections).toBe(before + 2);
  connection.close();
});

test("a lost connection fails the request that waits", async () => {
  const connection = await Connection.open(server.port);
  const lost = connection.request({ method: "GET", path: "/hang-up" });
  expect(lost).rejects.toThrow("closed the connection");
  await lost.catch(() => undefined);
});
