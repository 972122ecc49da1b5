/** For tests: a client process that commits without end and prints what was acknowledged, a line `key revision` each. Arguments: database path, socket path, key prefix. */
import { writeSync } from "node:fs";
import { connectClient } from "../index.ts";

const [path = "", socket = "", prefix = ""] = process.argv.slice(2);
const store = await connectClient({ path, socket, onLost: () => process.exit(3) });

async function run(lane: number): Promise<never> {
  for (let turn = 0; ; turn++) {
    const key = `${prefix}${lane}!${turn}`;
    const result = await store.commit({
      expect: [{ key, version: 0 }],
      put: [
        { key, value: `"${key}"` },
        { key: `twin!${key}`, value: `"${key}"` },
      ],
    });
    if (result.ok) writeSync(1, `${key} ${result.revision}\n`);
  }
}

await Promise.all(Array.from({ length: 8 }, (_, lane) => run(lane)));
