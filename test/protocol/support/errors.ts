/** The form of every refusal: distribution-spec §Error codes. */
import { expect } from "bun:test";

/** Codes of the specification, and those of 5xx answers, which it leaves open. */
export const CODES: readonly string[] = [
  "BLOB_UNKNOWN",
  "BLOB_UPLOAD_INVALID",
  "BLOB_UPLOAD_UNKNOWN",
  "DIGEST_INVALID",
  "MANIFEST_BLOB_UNKNOWN",
  "MANIFEST_INVALID",
  "MANIFEST_UNKNOWN",
  "NAME_INVALID",
  "NAME_UNKNOWN",
  "SIZE_INVALID",
  "UNAUTHORIZED",
  "DENIED",
  "UNSUPPORTED",
  "TOOMANYREQUESTS",
];

export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly detail?: unknown;
}

/** The errors of an answer, which must have the specification's form. */
export async function errorsOf(response: Response): Promise<Problem[]> {
  return checkedErrors(response.headers.get("Content-Type"), await response.text());
}

export function checkedErrors(contentType: string | null, text: string): Problem[] {
  expect(contentType).toStartWith("application/json");
  const body = JSON.parse(text) as { errors: Problem[] };
  expect(Object.keys(body)).toEqual(["errors"]);
  expect(body.errors.length).toBeGreaterThan(0);
  for (const { code, message, ...rest } of body.errors) {
    expect(CODES).toContain(code);
    expect(message.length).toBeGreaterThan(0);
    expect(Object.keys(rest).filter((key) => key !== "detail")).toEqual([]);
  }
  return body.errors;
}

/** Asserts a refusal; its first error. */
export async function expectError(
  response: Response,
  status: number,
  code: string,
): Promise<Problem> {
  const [first] = await errorsOf(response);
  expect({ status: response.status, code: first?.code }).toEqual({ status, code });
  if (first === undefined) throw new Error("no error");
  return first;
}
