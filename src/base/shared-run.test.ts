import { expect, test } from "bun:test";
import { SharedRun } from "./shared-run.ts";

/** A run whose work ends when told to. */
function controlled(): { shared: SharedRun; ends: ((error?: Error) => void)[] } {
  const ends: ((error?: Error) => void)[] = [];
  const work = async (): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    ends.push((error) => (error === undefined ? resolve() : reject(error)));
    return promise;
  };
  return { shared: new SharedRun(work), ends };
}

const turn = async (): Promise<void> => Bun.sleep(5);

test("calls of one turn share a run; those that come during it share the next", async () => {
  const { shared, ends } = controlled();
  const first = [shared.run(), shared.run(), shared.run()];
  await turn();
  expect(ends.length).toBe(1);
  let late = 0;
  const second = [shared.run(), shared.run()].map(async (run) => run.then(() => late++));
  await turn();
  expect(ends.length).toBe(1);
  ends[0]?.();
  await Promise.all(first);
  await turn();
  expect(ends.length).toBe(2);
  expect(late).toBe(0);
  ends[1]?.();
  await Promise.all(second);
  expect(late).toBe(2);
  void shared.run();
  await turn();
  expect(ends.length).toBe(3);
});

test("a failure is that run's alone", async () => {
  const { shared, ends } = controlled();
  const failing = shared.run().then(
    () => "done",
    (error: unknown) => String(error),
  );
  await turn();
  const next = shared.run();
  ends[0]?.(new Error("disk"));
  expect(await failing).toBe("Error: disk");
  await turn();
  ends[1]?.();
  await next;
});

test("a call is never answered by a run that began before it", async () => {
  let written = 0;
  let durable = 0;
  const shared = new SharedRun(async () => {
    const seen = written;
    await Bun.sleep(Math.random() * 3);
    durable = seen;
  });
  const writers = Array.from({ length: 200 }, async () => {
    await Bun.sleep(Math.random() * 50);
    const mine = ++written;
    await shared.run();
    expect(durable).toBeGreaterThanOrEqual(mine);
  });
  await Promise.all(writers);
});
