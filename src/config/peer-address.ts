import { formatListen, parseListen } from "./listen.ts";
import { NODE_NAME, nodeNameForm } from "./node-name.ts";
import { shown, type Parsed } from "./parsed.ts";

/** Where anywhere is meant, nobody can be sent. */
const unspecified = ["", "0.0.0.0", "::"];

/** Reads `10.0.0.1:5080`, `[fd00::1]:5080`, `n1.example.com:5080`: where other nodes reach one. */
export function parsePeerAddress(text: string): Parsed<string> {
  const parsed = parseListen(text);
  if ("value" in parsed && parsed.value.port > 0 && !unspecified.includes(parsed.value.host))
    return { value: formatListen(parsed.value) };
  return {
    problem: `${shown(text)} is not where other nodes could reach a node; write host and port, such as "10.0.0.1:5080"`,
  };
}

/** Reads the nodes of a cluster: at least one, each name a node's, no address twice. */
export function parseMembers(
  written: Readonly<Record<string, string>>,
): Parsed<Readonly<Record<string, string>>> {
  const nameOf = new Map<string, string>();
  for (const [name, text] of Object.entries(written)) {
    if (!NODE_NAME.test(name))
      return { problem: `${shown(name)} is not accepted as a name; it takes ${nodeNameForm}` };
    const address = parsePeerAddress(text);
    if ("problem" in address) return address;
    const other = nameOf.get(address.value);
    if (other !== undefined)
      return {
        problem: `${other} and ${name} have the same address ${address.value}; give each node its own`,
      };
    nameOf.set(address.value, name);
  }
  if (nameOf.size === 0)
    return { problem: 'it names nobody; write every node, such as { n1: "10.0.0.1:5080" }' };
  return { value: Object.fromEntries([...nameOf].map(([address, name]) => [name, address])) };
}
