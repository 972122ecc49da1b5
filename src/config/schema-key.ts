import { z } from "zod";
import { formatDuration, parseDuration } from "./duration.ts";
import { shown, type Parsed } from "./parsed.ts";
import { parseSize } from "./size.ts";

/** Notes on a key beside its type. */
interface Notes {
  /** Completes "it takes …". */
  readonly form: string;
  /** The default that depends on something, in words. */
  readonly otherwise?: string;
  /** What is written must not be shown. */
  readonly secret?: true;
}

/** A key of the configuration with what its documentation says. */
export function key<S extends z.ZodType>(schema: S, description: string, notes: Notes): S {
  return schema.meta({ description, ...notes });
}

/** A parser as a transformation: its problem becomes the sentence of the key. */
export function lift<I, O>(parse: (written: I) => Parsed<O>) {
  return (written: I, context: z.RefinementCtx): O => {
    const parsed = parse(written);
    if ("value" in parsed) return parsed.value;
    context.addIssue({ code: "custom", message: parsed.problem });
    return z.NEVER;
  };
}

/** Every element parsed; the first bad one speaks for the list. */
export function each<O>(parse: (written: string) => Parsed<O>) {
  return (written: string | readonly string[]): Parsed<readonly O[]> => {
    const value: O[] = [];
    for (const text of typeof written === "string" ? [written] : written) {
      const parsed = parse(text);
      if ("problem" in parsed) return parsed;
      value.push(parsed.value);
    }
    return { value };
  };
}

/** A duration of at least `least` and, if given, at most `most` milliseconds. */
export function duration(fallback: string, least: number, description: string, most = Infinity) {
  const parse = (text: string): Parsed<number> => {
    const parsed = parseDuration(text);
    if ("problem" in parsed) return parsed;
    if (parsed.value < least)
      return { problem: `"${text}" is too short; write at least ${formatDuration(least)}` };
    if (parsed.value > most)
      return { problem: `"${text}" is too long; write at most ${formatDuration(most)}` };
    return parsed;
  };
  return key(z.string().transform(lift(parse)).prefault(fallback), description, {
    form: "a duration such as 250ms, 30s, 10m, 24h or 7d",
  });
}

/** A size of at least `least` bytes. */
export function size(fallback: number, least: number, description: string) {
  const parse = (written: string | number): Parsed<number> => {
    const parsed = parseSize(written);
    return "value" in parsed && parsed.value < least
      ? { problem: `${written} is too small; write at least ${least} bytes` }
      : parsed;
  };
  return key(
    z
      .union([z.int().min(0), z.string()])
      .transform(lift(parse))
      .prefault(fallback),
    description,
    { form: "a number of bytes, or a size such as 4MiB or 4MB" },
  );
}

export function count(fallback: number, most: number, description: string) {
  return key(z.int().min(1).max(most).prefault(fallback), description, {
    form: `a whole number from 1 to ${most}`,
  });
}

export function choice<const V extends readonly [string, ...string[]]>(
  values: V,
  fallback: NoInfer<V[number]>,
  description: string,
) {
  const inner = z.enum(values);
  return key(inner.prefault(fallback), description, {
    form: `one of ${values.join(", ")}`,
  });
}

export function path(description: string, otherwise: string) {
  return key(z.string().min(1).optional(), description, {
    form: "a path, relative ones starting at the working directory",
    otherwise,
  });
}

/** A text that nobody may see; there is always a key `…File` beside it. */
export function secret(description: string) {
  return key(z.string().min(1).optional(), `${description} A secret: never printed.`, {
    form: "a text (in quotes where it is a number)",
    otherwise: "none",
    secret: true,
  });
}

/** The path of a file that holds the secret of the key `of`. */
export function secretFile(of: string) {
  return path(
    `A file that holds ${of} and nothing else, read at the start; instead of that key.`,
    "none",
  );
}

/** A text of a certain form. */
export function text(form: RegExp, takes: string) {
  return (written: string): Parsed<string> =>
    form.test(written)
      ? { value: written }
      : { problem: `${shown(written)} is not accepted; it takes ${takes}` };
}
