/** The body of a request to a peer, watched: whose turn it is decides whether silence is the peer's fault. */

/** Told as the body moves. */
export interface Turns {
  /** A chunk is with the peer, or all of them: it should take it, or answer. */
  onPeer(): void;
  /** The peer wants more than there is: the source is waited for. */
  onSource(): void;
  /** The source broke: not the peer's fault either. */
  onBroken(error: unknown): void;
}

type Bytes = Uint8Array<ArrayBuffer>;

/** The same bytes, drawn one chunk at a time and never ahead of what the peer takes. */
export function watched(body: ReadableStream<Bytes>, turns: Turns): ReadableStream<Bytes> {
  const reader = body.getReader();
  let isWanted = true;
  return new ReadableStream<Bytes>(
    {
      async pull(controller) {
        turns.onSource();
        const chunk = await reader.read().catch((error: unknown) => {
          if (isWanted) turns.onBroken(error);
          throw error;
        });
        if (!isWanted) return;
        turns.onPeer();
        if (chunk.done) controller.close();
        else controller.enqueue(chunk.value);
      },
      cancel(reason) {
        isWanted = false;
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}
