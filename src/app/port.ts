/**
 * The exclusive probe of the listen addresses. Workers share a port by `reusePort`, which would also let a
 * second instance share it silently, so the parent asks first without it.
 */
import { createServer } from "node:net";
import { StartError, errorCode } from "./start-error.ts";

export interface Address {
  /** `""`: every interface. */
  readonly host: string;
  readonly port: number;
}

/** The workers of a parent that was killed a moment ago need so long to notice. */
const PATIENCE_MS = 1500;
const RETRY_MS = 50;

/**
 * Resolves with the same addresses, port 0 replaced by the one that the system chose. Throws `StartError`
 * when one cannot be had. `option` is how the operator changes them.
 */
export async function probe(addresses: readonly Address[], option: string): Promise<Address[]> {
  const deadline = Date.now() + PATIENCE_MS;
  const found: Address[] = [];
  for (const address of addresses)
    found.push({ ...address, port: await probeOne(address, option, deadline) });
  return found;
}

async function probeOne(address: Address, option: string, deadline: number): Promise<number> {
  for (;;) {
    try {
      return await bind(address);
    } catch (error) {
      if (errorCode(error) === "EADDRINUSE" && Date.now() < deadline) await Bun.sleep(RETRY_MS);
      else throw refusal(address, option, error);
    }
  }
}

function bind({ host, port }: Address): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ port, exclusive: true, ...(host === "" ? {} : { host }) }, () => {
      const bound = server.address();
      server.close(() => resolve(typeof bound === "object" && bound ? bound.port : port));
    });
  });
}

/** As an operator writes it. */
export function shown({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A URL that reaches the address from this machine. */
export function urlOf(scheme: "http" | "https", { host, port }: Address): string {
  return `${scheme}://${shown({ host: host === "" ? "0.0.0.0" : host, port })}`;
}

/** One sentence for why an address cannot be listened on. */
export function refusal(address: Address, option: string, error: unknown): StartError {
  const where = shown(address);
  const choose = `choose another with ${option}`;
  switch (errorCode(error)) {
    case "EADDRINUSE":
      return new StartError(`another program already listens on ${where}: stop it, or ${choose}`);
    case "EACCES":
      return new StartError(
        `listening on ${where} is not permitted: ports below 1024 need root or the capability CAP_NET_BIND_SERVICE, or ${choose}`,
      );
    case "EADDRNOTAVAIL":
      return new StartError(`${where} is not an address of this machine: ${choose}`);
    case "ENOTFOUND":
      return new StartError(`the host name of ${where} is not known: ${choose}`);
    case undefined:
    default:
      return new StartError(
        `cannot listen on ${where} (${error instanceof Error ? error.message : String(error)}): ${choose}`,
      );
  }
}
