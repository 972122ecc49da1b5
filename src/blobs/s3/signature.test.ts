import { AwsV4Signer } from "aws4fetch";
import { expect, test } from "bun:test";
import { encodePath, queryText, Signer, type Signable } from "./signature.ts";

const at = new Date("2013-05-24T00:00:00Z");
const keys = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
const object: Signable = {
  method: "GET",
  host: "examplebucket.s3.amazonaws.com",
  path: "/test.txt",
  query: {},
};

test("a presigned URL has the signature of the example in Amazon's documentation", () => {
  expect(new Signer("us-east-1").query(object, 86_400, keys, at)).toEndWith(
    "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
  );
});

const requests: readonly (Signable & { readonly amz: Record<string, string> })[] = [
  { ...object, amz: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" } },
  {
    method: "PUT",
    host: "127.0.0.1:7070",
    path: `/images/${encodePath("a b+c/(d)!'*~é/x=1&y")}`,
    query: { uploadId: "a/b+c==", partNumber: "10" },
    amz: { "x-amz-content-sha256": "0".repeat(64), "x-amz-meta-writer": "somebody" },
  },
  {
    method: "GET",
    host: "h",
    path: "/images",
    query: { prefix: "a/b c/", "list-type": "2", delimiter: "/", "continuation-token": "a'(*)!" },
    amz: { "x-amz-content-sha256": "0".repeat(64) },
  },
];

test("requests are signed as another program signs them, by one signer in turn for several owners", async () => {
  const signer = new Signer("eu-west-1");
  for (const { amz, ...request } of [...requests, ...requests]) {
    for (const owner of [keys, { ...keys, secretAccessKey: "other", sessionToken: "a+b/c=" }]) {
      const search = queryText(request.query);
      const other = await new AwsV4Signer({
        method: request.method,
        url: `http://${request.host}${request.path}${search === "" ? "" : `?${search}`}`,
        headers: amz,
        ...owner,
        service: "s3",
        region: "eu-west-1",
        datetime: "20130524T000000Z",
      }).sign();
      const ours = signer.headers(request, amz, owner, at);
      expect(ours["authorization"]).toBe(other.headers.get("authorization") ?? "");
      expect(ours["x-amz-security-token"] ?? null).toBe(other.headers.get("x-amz-security-token"));
      expect(ours["x-amz-date"]).toBe("20130524T000000Z");
    }
  }
});

test("a presigned URL of temporary keys is as another program makes it", async () => {
  const owner = { ...keys, sessionToken: "a+b/c=" };
  const other = await new AwsV4Signer({
    url: `https://${object.host}${object.path}?X-Amz-Expires=60`,
    ...owner,
    service: "s3",
    region: "eu-west-1",
    datetime: "20130524T000000Z",
    signQuery: true,
  }).sign();
  const query = new Signer("eu-west-1").query(object, 60, owner, at);
  const wanted = [...other.url.searchParams].map(([name, value]) => `${name} ${value}`);
  const found = [...new URLSearchParams(query)].map(([name, value]) => `${name} ${value}`);
  expect(found.toSorted()).toEqual(wanted.toSorted());
});
