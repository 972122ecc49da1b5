import { expect, test } from "bun:test";
import { until } from "../support/processes.ts";
import { headOf, type RawConnection } from "./support/raw.ts";
import { openSession } from "./support/requests.ts";
import { sharedServer } from "./support/shared-server.ts";

const LIMIT = 3;
const WORKERS = 2;

const { handle, connect } = sharedServer({
  port: 26_030,
  workers: WORKERS,
  env: { HOLDFAST_LIMITS_CONCURRENT_UPLOADS: `${LIMIT}` },
});

test("each worker receives limits.concurrentUploads bodies at once and refuses the others, which can come later", async () => {
  const sent: RawConnection[] = [];
  const send = async (): Promise<void> => {
    const location = await openSession(handle, "many");
    const connection = await connect();
    connection.write(headOf("PATCH", location, { "Content-Length": "2" }));
    await connection.flush("a");
    sent.push(connection);
  };
  const accepted = () => sent.filter(({ waiting }) => waiting === 0);
  // So many that each worker gets its fill, however the kernel spreads them, and however late it started.
  const filled = async (): Promise<boolean> => {
    await Promise.all(Array.from({ length: 10 }, send));
    await Bun.sleep(300);
    return sent.length >= 40 && accepted().length === LIMIT * WORKERS;
  };
  await until(filled, 20_000, "both workers to be full and to refuse all others");
  const refused = sent.filter((connection) => !accepted().includes(connection));
  for (const connection of accepted()) {
    await connection.flush("b");
    expect((await connection.response()).status).toBe(202);
  }
  for (const connection of refused) {
    const { status, headers } = await connection.response();
    expect([status, headers.get("retry-after")]).toEqual([429, "1"]);
  }
  for (const connection of sent) connection.destroy();
}, 30_000);

test("a head of 16 KiB is taken, a larger one is answered 431 without a body", async () => {
  for (const [bytes, status] of [
    [16_384, 200],
    [16_385, 431],
  ] as const) {
    using connection = await connect();
    connection.write(headOfSize(bytes));
    const answer = await connection.response("HEAD");
    expect([bytes, answer.status]).toEqual([bytes, status]);
    if (status === 431) {
      expect(await connection.closes(5000)).toBe(true);
      expect(connection.waiting).toBe(0);
    }
  }
});

/** A request whose head has exactly so many bytes. */
function headOfSize(bytes: number): string {
  const bare = headOf("GET", "/v2/", { "X-Pad": "" }).length;
  return headOf("GET", "/v2/", { "X-Pad": "x".repeat(bytes - bare) });
}
