/** What a parser of one written value gives: the value, or a sentence part saying what is wrong and what to write. */
export type Parsed<T> = { readonly value: T } | { readonly problem: string };

/** A value as it is shown in a message: JSON, cut at 80 characters. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
