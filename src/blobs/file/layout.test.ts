import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { failureOf } from "../conformance-tools.ts";
import type { Locator } from "../port.ts";
import { Layout } from "./layout.ts";

const root = fs.mkdtempSync(join(tmpdir(), "holdfast-layout-"));
afterAll(() => fs.rmSync(root, { recursive: true }));

/** Before the directory's fsync, which takes a turn of the event loop. */
async function soon(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

test("a file whose content cannot be made durable is gone before anybody else can have made sure of it", async () => {
  const layout = await Layout.open(root);
  const locator = `blobs/sha256/ab/${"ab".repeat(32)}.${"a".repeat(8)}` as Locator;
  let path = "";
  let wasThere: boolean | undefined;
  const created = layout.create(locator, async (given) => {
    path = given;
    fs.writeFileSync(path, "content");
    return async () => {
      void soon().then(() => (wasThere = fs.existsSync(path)));
      throw new Error("no fsync");
    };
  });
  expect(String(await failureOf(created))).toContain("no fsync");
  expect([wasThere, fs.existsSync(path)]).toEqual([false, false]);
  layout.close();
});
