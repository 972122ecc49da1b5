import { writeSync } from "node:fs";
import { Command } from "commander";
import { addConfigFlags, configFromFlags, type ConfigOptions } from "./config-flags.ts";

const help = `
Examples:
  holdfast serve
      Everything is a default: port 5000 on every interface, data in ./data, one worker per core.
  holdfast serve --listen 127.0.0.1:5000 --data /srv/registry
      Only this machine; anonymous clients may also delete.
  holdfast serve --config /etc/holdfast.yml
      All keys: \`holdfast config schema\`; those in effect: \`holdfast config print\`.
  HOLDFAST_TLS_CERT=/etc/ssl/r.pem HOLDFAST_TLS_KEY=/etc/ssl/r.key holdfast serve --listen :443
      HTTPS. Changed files are read again by themselves, and on SIGHUP.

While it runs:
  GET /healthz, /readyz          alive; ready, or why not
  GET /metrics                   for Prometheus, on metrics.listen (127.0.0.1:5090)
  SIGTERM, SIGINT                finishes what is under way (drain.timeout), then ends; a second one ends at once
  SIGHUP                         reads the TLS certificate again

Exit codes: 0 ended as asked, 1 could not start or failed, 2 the configuration cannot be used.`;

/** `holdfast serve`: run the registry. */
export function serveCommand(version: string): Command {
  const command = new Command("serve").description("run the registry").addHelpText("after", help);
  return addConfigFlags(command).action(async (options: ConfigOptions) => {
    const { config, notices } = configFromFlags(options, process.env);
    const [{ serve }, { StartError }] = await Promise.all([
      import("../app/serve.ts"),
      import("../app/start-error.ts"),
    ]);
    try {
      process.exit(await serve({ config, notices, version }));
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      writeSync(2, `holdfast: ${error.message}\n`);
      process.exit(1);
    }
  });
}
