import { shown, type Parsed } from "./parsed.ts";

/** Reads the origin at which clients reach the registry (`https://registry.example.com`); gives it without a final slash. */
export function parsePublicUrl(text: string): Parsed<string> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const web = url?.protocol === "https:" || url?.protocol === "http:";
  if (!url || !web || url.href !== `${url.origin}/`)
    return {
      problem: `${url?.password ? "this, which holds a password," : shown(text)} is not the address of a registry; write scheme and host only, such as "https://registry.example.com" (the protocol lives at /v2/, no path can come before it)`,
    };
  return { value: url.origin };
}
