/** A real distribution registry on a directory, to write what is taken over and to see that it still can be read. */
import { join } from "node:path";
import { findTool } from "../../clients/support/tools.ts";
import { freePort, until } from "../../support/processes.ts";

export const OLD_REGISTRIES = ["docker-registry", "registry"] as const;
export type OldRegistry = (typeof OLD_REGISTRIES)[number];

export interface RunningRegistry extends AsyncDisposable {
  readonly url: string;
  readonly host: string;
  readonly pid: number;
}

/** Its `config.yml`, the file that Holdfast is started with as well. */
export function configFor(data: string, host: string, readOnly = false): string {
  const maintenance = `maintenance: { readonly: { enabled: ${readOnly} } }`;
  return [
    "version: 0.1",
    "log: { level: warn }",
    `storage: { filesystem: { rootdirectory: ${data} }, delete: { enabled: true }, ${maintenance} }`,
    `http: { addr: "${host}" }`,
    "",
  ].join("\n");
}

export async function startOldRegistry(
  program: OldRegistry,
  data: string,
  readOnly = false,
): Promise<RunningRegistry> {
  const host = freeHost();
  const config = join(`${data}.config-${host.replace(":", "-")}.yml`);
  await Bun.write(config, configFor(data, host, readOnly));
  return runOldRegistry(program, config, host);
}

/** `127.0.0.1:PORT` */
export function freeHost(): string {
  return `127.0.0.1:${freePort()}`;
}

/** `config`: path of a file that has it listen on `host`. */
export async function runOldRegistry(
  program: OldRegistry,
  config: string,
  host: string,
): Promise<RunningRegistry> {
  const child = Bun.spawn([findTool(program) ?? program, "serve", config], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "ignore",
    // Version 3 would look for a collector of traces; version 2 would trust no bucket with AWS_CA_BUNDLE set.
    env: { PATH: process.env["PATH"] ?? "", OTEL_TRACES_EXPORTER: "none" },
  });
  const url = `http://${host}`;
  const answers = async (): Promise<boolean> => {
    try {
      return (await fetch(`${url}/v2/`)).ok;
    } catch {
      return false;
    }
  };
  await until(answers, 10_000, `${program} to answer`);
  return {
    url,
    host,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.exited;
    },
  };
}
