/**
 * A node for the journal's tests: commits without end through a recorder and prints `lane number` for each commit that
 * was answered for. Arguments: database path, socket path or "" to be the database's writer itself, journal directory,
 * name of the node, first lane.
 */
import { writeSync } from "node:fs";
import { systemClock } from "../../src/base/clock.ts";
import { openFileObjects } from "../../src/blobs/file/objects.ts";
import { journaled, startRecorder } from "../../src/journal/index.ts";
import { install, quiet } from "../../src/journal/journal-fixture.ts";
import { connectClient, openWriter } from "../../src/meta/sqlite/index.ts";

const LANES = 4;
const [path = "", socket = "", journal = "", writer = "", lane = "0"] = process.argv.slice(2);
const plain =
  socket === ""
    ? openWriter({ path })
    : await connectClient({ path, socket, onLost: () => process.exit(3) });
await install(plain);
const recorder = await startRecorder({
  store: plain,
  objects: await openFileObjects(journal),
  writer,
  installation: "test",
  mode: "before-answer",
  shared: socket !== "",
  clock: systemClock,
  log: quiet,
});
const store = journaled(plain, recorder);
// Parts beside the commits, as the background job makes them.
void (async () => {
  for (;;) {
    await Bun.sleep(150);
    await recorder.snapshot();
  }
})();
await Promise.all(Array.from({ length: LANES }, (_, n) => run(Number(lane) + n)));

/** Each commit of a lane rests on the one before. */
async function run(id: number): Promise<never> {
  const { entries } = await store.get([`repo!${id}`]);
  for (let n = Number(entries[0]?.value ?? 0) + 1; ; n++) {
    const result = await store.commit({
      put: [
        { key: `repo!${id}`, value: `${n}` },
        { key: `tag!${id}!${n}`, value: `"${n}"` },
        { key: `blob!${id}!${n}`, value: "{}" },
        { key: `upload!${id}`, value: `${n}` },
      ],
      delete: [`blob!${id}!${n - 3}`],
    });
    if (result.ok) writeSync(1, `${id} ${n}\n`);
  }
}
