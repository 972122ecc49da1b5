import { expect, test } from "bun:test";
import { sha256Of, Transport, type S3Options } from "./transport.ts";

const credentials = { accessKeyId: "key", secretAccessKey: "secret" };

async function place(options: Omit<S3Options, "bucket" | "credentials">): Promise<string> {
  const transport = new Transport({ bucket: "images", credentials, ...options });
  const { origin, pathname } = new URL(await transport.presign("blobs/x", 60));
  return origin + pathname;
}

test("the bucket is in the path of an endpoint, and in the host name of Amazon's, unless told otherwise", async () => {
  expect(await place({})).toBe("https://images.s3.us-east-1.amazonaws.com/blobs/x");
  expect(await place({ region: "eu-west-1", pathStyle: true })).toBe(
    "https://s3.eu-west-1.amazonaws.com/images/blobs/x",
  );
  expect(await place({ endpoint: "http://127.0.0.1:7070/" })).toBe(
    "http://127.0.0.1:7070/images/blobs/x",
  );
  expect(await place({ endpoint: "https://s3.example.com/base", pathStyle: false })).toBe(
    "https://images.s3.example.com/base/blobs/x",
  );
});

test("a prefix is a folder however it is written", async () => {
  const endpoint = "http://h";
  for (const prefix of ["a/b", "a/b/", "/a/b//"]) {
    expect(await place({ endpoint, prefix })).toBe("http://h/images/a/b/blobs/x");
  }
  for (const prefix of ["", "/"]) {
    expect(await place({ endpoint, prefix })).toBe("http://h/images/blobs/x");
  }
  expect(await place({ endpoint, prefix: "a b+c" })).toBe("http://h/images/a%20b%2Bc/blobs/x");
});

test("a body of any size has the hash it is signed with", async () => {
  for (const size of [0, 1, 262_143, 262_144, 262_145, 1_000_001]) {
    const bytes = new Uint8Array(size).map((_, index) => index & 255);
    expect(await sha256Of(bytes)).toBe(new Bun.CryptoHasher("sha256").update(bytes).digest("hex"));
  }
});
