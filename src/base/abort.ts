/** Waiting that can be given up. */

/** What `step` resolves to; throws the signal's reason as soon as there is one, and leaves `step` to itself. */
export async function unlessAborted<T>(step: Promise<T>, signal: AbortSignal): Promise<T> {
  step.catch(() => {});
  signal.throwIfAborted();
  const given = Promise.withResolvers<never>();
  const giveUp = (): void => given.reject(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    return await Promise.race([step, given.promise]);
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}
