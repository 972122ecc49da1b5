/** What the operator says by signals. */

export interface Signals extends Disposable {
  /** Resolves with the first SIGTERM or SIGINT. */
  readonly stop: Promise<NodeJS.Signals>;
}

/** `again` is called by every SIGTERM or SIGINT after the first, `reload` by SIGHUP. */
export function listenForSignals(on: { reload(): void; again(): void }): Signals {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  let told = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (told) on.again();
    told = true;
    resolve(signal);
  };
  const reload = (): void => on.reload();
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  process.on("SIGHUP", reload);
  return {
    stop: promise,
    [Symbol.dispose]() {
      process.off("SIGTERM", stop);
      process.off("SIGINT", stop);
      process.off("SIGHUP", reload);
    },
  };
}
