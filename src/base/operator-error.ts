/** The message is a sentence for the operator: what is in the way, and what to do about it. */
export class OperatorError extends Error {
  override readonly name: string = "OperatorError";
}
