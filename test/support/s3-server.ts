/** What a real S3 server is to a suite, whichever program it is. */
import { S3Client } from "../../src/blobs/s3/client.ts";

export interface S3Server extends AsyncDisposable {
  /** Base URL, for path style. */
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** The process that answers requests. */
  readonly pid: number;
  createBucket(name: string): Promise<void>;
}

export async function createBucket(
  server: Pick<S3Server, "endpoint" | "accessKeyId" | "secretAccessKey">,
  name: string,
): Promise<void> {
  const { transport } = new S3Client({
    bucket: name,
    endpoint: server.endpoint,
    credentials: server,
  });
  await transport.send({ method: "PUT", expected: [200] }, (response) => response.arrayBuffer());
}

/** Whether anything answers at a URL, be it a refusal. */
export async function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(2000) }).then(
    () => true,
    () => false,
  );
}
