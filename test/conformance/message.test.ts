import { createServer, type AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Client } from "./client.ts";
import { headerLines, headerList, type Request } from "./message.ts";

/** A server that keeps what it is sent and answers every request with the same bytes. */
const REPLY =
  "HTTP/1.1 201 Created\r\nOCI-Tag: one\r\nOCI-Tag: two, three\r\nTransfer-Encoding: chunked\r\n\r\n" +
  "5\r\nhello\r\n0\r\n\r\n";
let received = "";
const server = createServer((socket) => {
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
    if (received.endsWith("\r\n\r\n") || received.endsWith("abc")) {
      socket.write(REPLY);
    }
  });
});
let client: Client;

beforeAll(async () => {
  const listening = Promise.withResolvers<undefined>();
  server.listen(0, "127.0.0.1", () => listening.resolve(undefined));
  await listening.promise;
  client = new Client(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

afterAll(() => {
  client.close();
  server.close();
});

async function sent(request: Omit<Request, "url">): Promise<string> {
  received = "";
  const reply = await client.send({ ...request, url: new URL("/v2/x?a=b", client.base) });
  expect(reply.status).toBe(201);
  expect(headerLines(reply, "oci-tag")).toEqual(["one", "two, three"]);
  expect(headerList(reply, "OCI-Tag")).toEqual(["one", "two", "three"]);
  expect(Buffer.from(reply.body).toString()).toBe("hello");
  return received;
}

test("a chunked body goes without a length", async () => {
  const wire = await sent({ method: "PUT", body: Buffer.from("abc"), chunked: true });
  expect(wire).toStartWith("PUT /v2/x?a=b HTTP/1.1\r\n");
  expect(wire).toContain("\r\nTransfer-Encoding: chunked\r\n");
  expect(wire).not.toMatch(/content-length/i);
  expect(wire).toEndWith("\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
});

test("a body goes with its length", async () => {
  const wire = await sent({ method: "PATCH", body: Buffer.from("abc") });
  expect(wire).toContain("\r\nContent-Length: 3\r\n");
  expect(wire).not.toMatch(/transfer-encoding/i);
  expect(wire).toEndWith("\r\n\r\nabc");
});

test("an empty body goes chunked, no body goes with length 0, a GET with neither", async () => {
  const empty = await sent({ method: "PUT", body: new Uint8Array() });
  expect(empty).toEndWith("\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  expect(await sent({ method: "POST" })).toEndWith("\r\nContent-Length: 0\r\n\r\n");
  expect(await sent({ method: "GET" })).not.toMatch(/content-length|transfer-encoding/i);
});
