/** How a peer port says that it does not answer: JSON with one sentence, told apart from what handlers answer. */

/** On answers that come from the peer port itself; a handler's own 401 is a result like any other. */
const REFUSAL_HEADER = "holdfast-refusal";
/** What a sentence may have of an answer. */
const SENTENCE_MAX = 1000;

export interface Refusal {
  readonly status: 401 | 404 | 426 | 500 | 503;
  /** A sentence for the operator, without a full stop. */
  readonly error: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export function refuse({ status, error, headers }: Refusal): Response {
  return Response.json({ error }, { status, headers: { ...headers, [REFUSAL_HEADER]: "1" } });
}

/** Why the peer port did not let us in, or `undefined` where it did. Reads the body only where it did not. */
export async function refusalIn(response: Response): Promise<string | undefined> {
  const { status, headers } = response;
  if ((status !== 401 && status !== 426) || !headers.has(REFUSAL_HEADER)) return undefined;
  const body: unknown = await response.json().catch(() => undefined);
  const error = typeof body === "object" && body && "error" in body ? body.error : undefined;
  return typeof error === "string" ? error.slice(0, SENTENCE_MAX) : `status ${status}`;
}
