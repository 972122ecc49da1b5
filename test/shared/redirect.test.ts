/** Redirects to the bucket, and the clients that get the bytes from the registry all the same. */
import { expect, test } from "bun:test";
import { describeWith } from "../clients/support/tools.ts";
import { describePostgres } from "../support/postgres.ts";
import { bytesOf, sha256 } from "../support/push.ts";
import { startServer } from "../support/server.ts";
import { newPlace } from "../support/shared-place.ts";
import { pushBlob, request } from "./support/api.ts";

const LARGE = 300_000;
const DOCKER = "docker/27.5.1 go/go1.22.11 kernel/6.1.0 os/linux arch/amd64";

describeWith(["versitygw"], "redirects", () => {
  describePostgres("over PostgreSQL", () => {
    test("are for everybody but those that the configuration names", async () => {
      await using place = await newPlace("postgres");
      const env = {
        ...place.env,
        HOLDFAST_STORAGE_S3_REDIRECT_ENABLED: "true",
        HOLDFAST_STORAGE_S3_REDIRECT_EXCEPT_USER_AGENTS: '["containerd/", "buildkit"]',
      };
      await using node = await startServer({ workers: 1, env });
      const bytes = bytesOf(1, LARGE);
      const path = `/v2/app/blobs/${await pushBlob(node, "app", bytes)}`;
      const pull = (agent: string): Promise<Response> =>
        request(node, path, { redirect: "manual", headers: { "User-Agent": agent } });

      const redirected = await pull(DOCKER);
      expect(redirected.status).toBe(307);
      const location = redirected.headers.get("Location") ?? "";
      expect(location).toStartWith(place.env["HOLDFAST_STORAGE_S3_ENDPOINT"] ?? "none");
      expect(sha256(await (await fetch(location)).bytes())).toBe(sha256(bytes));

      for (const agent of ["Containerd/1.7", "moby BuildKit/v0.19"]) {
        const answer = await pull(agent);
        expect(answer.status).toBe(200);
        expect(sha256(await answer.bytes())).toBe(sha256(bytes));
      }
    }, 60_000);
  });
});
