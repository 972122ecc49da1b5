/** The C library of this system, for the few calls that the runtime does not offer. */
import { dlopen, type FFIFunction, type Library } from "bun:ffi";

const CANDIDATES: readonly string[] =
  process.platform === "darwin"
    ? ["libSystem.B.dylib"]
    : [
        "libc.so.6",
        process.arch === "arm64" ? "libc.musl-aarch64.so.1" : "libc.musl-x86_64.so.1",
        "libc.so",
      ];

/** Binds functions of the C library, or gives `undefined` where no candidate has them all. */
export function openLibc<Functions extends Record<string, FFIFunction>>(
  functions: Functions,
): Library<Functions> | undefined {
  for (const name of CANDIDATES) {
    try {
      return dlopen(name, functions);
    } catch {
      // Not this library: the next one may be.
    }
  }
  return undefined;
}
