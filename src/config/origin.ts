import { shown, type Parsed } from "./parsed.ts";

/**
 * Reads the address of a server that is reached by HTTP (`https://s3.example.com:9000`); gives it without a final slash.
 * What may hold a password is not shown.
 */
export function parseOrigin(example: string): (text: string) => Parsed<string> {
  return (text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    const web = url?.protocol === "https:" || url?.protocol === "http:";
    if (url && web && url.href === `${url.origin}/`) return { value: url.origin };
    const what = text.includes("@") ? "this, which holds a user or password," : shown(text);
    return {
      problem: `${what} is not accepted; write scheme, host and port only, such as "${example}"`,
    };
  };
}
