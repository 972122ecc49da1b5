import type { Client } from "./client.ts";
import type { Source } from "./payload.ts";
import { expectStatus, locationOf, openUpload, withDigest } from "./registry.ts";
import type { Server } from "./servers.ts";

/** Sends a file by sendfile(2), which `fetch` does for a file body on plain HTTP. */
const send = async (
  server: Server,
  method: "PUT" | "PATCH",
  path: string,
  source: Source,
): Promise<Response> => {
  const reply = await fetch(`http://127.0.0.1:${server.port}${path}`, {
    method,
    body: Bun.file(source.path),
    headers: { "Content-Type": "application/octet-stream" },
    redirect: "manual",
    keepalive: false,
  });
  const text = await reply.text();
  if (reply.status !== (method === "PUT" ? 201 : 202))
    throw new Error(`${server.name}: ${method} of ${source.size} bytes: ${reply.status} ${text}`);
  return reply;
};

/** POST, PUT with the whole body. */
export const pushByPut = async (
  server: Server,
  connection: Client,
  repository: string,
  source: Source,
): Promise<void> => {
  const path = withDigest(await openUpload(connection, repository), source.digest);
  await send(server, "PUT", path, source);
};

/** POST, PATCH with the whole body, empty PUT: what docker does. */
export const pushByPatch = async (
  server: Server,
  connection: Client,
  repository: string,
  source: Source,
): Promise<void> => {
  const reply = await send(server, "PATCH", await openUpload(connection, repository), source);
  const next = locationOf({
    status: reply.status,
    header: (name) => reply.headers.get(name) ?? undefined,
    body: Buffer.alloc(0),
  });
  const path = withDigest(next, source.digest);
  await expectStatus(connection, { method: "PUT", path, body: new Uint8Array() }, 201);
};

/** Throws unless the server holds the blob with its full length. */
export const expectBlob = async (
  connection: Client,
  repository: string,
  source: Source,
): Promise<void> => {
  const path = `/v2/${repository}/blobs/${source.digest}`;
  const reply = await expectStatus(connection, { method: "HEAD", path }, 200);
  if (Number(reply.header("content-length")) !== source.size)
    throw new Error(`HEAD ${path}: Content-Length ${reply.header("content-length")}`);
};
