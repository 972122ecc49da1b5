/** The log of one process of ours: standard output, shared by parent and workers. */
import { isatty } from "node:tty";
import { LineSink } from "../base/line-sink.ts";
import { createLogger, type OwnLogger } from "../base/log.ts";
import type { Config } from "../config/config.ts";

const STDOUT = 1;

/** `from` names the process in each line. */
export function openLog({ log }: Config, from: string): OwnLogger {
  const format = log.format === "auto" ? (isatty(STDOUT) ? "text" : "json") : log.format;
  const { level, requests } = log;
  return createLogger({ level, format, requests, from }, new LineSink(STDOUT));
}
