import { z } from "zod";
import { schema } from "./schema.ts";

/** One key of the configuration, as its documentation has it. */
export interface KnownKey {
  /** Dotted path, such as `log.level`. */
  readonly path: string;
  readonly description: string;
  /** Completes the sentence "it takes …". */
  readonly form: string;
  /** The default as one would write it, or in words where it depends on the machine. */
  readonly fallback: { readonly written: unknown } | { readonly words: string };
  /** A text is all it takes, so that a text is never read as JSON. */
  readonly textOnly: boolean;
  /** What is written must not be shown. */
  readonly secret: boolean;
}

const node = z.looseObject({
  type: z.string().optional(),
  description: z.string().default(""),
  form: z.string().default(""),
  otherwise: z.string().optional(),
  secret: z.boolean().default(false),
  default: z.unknown().optional(),
  get properties() {
    return z.record(z.string(), node).optional();
  },
});

/** The JSON Schema (draft 2020-12) of the configuration file. */
export function configSchemaJson(): Record<string, unknown> {
  return { title: "Holdfast configuration", ...z.toJSONSchema(schema, { io: "input" }) };
}

function collect(properties: Record<string, z.output<typeof node>>, parents: string): void {
  for (const [name, child] of Object.entries(properties)) {
    const path = parents + name;
    if (child.properties) {
      groups.add(path);
      collect(child.properties, `${path}.`);
      continue;
    }
    const { description, form, otherwise, type, secret } = child;
    const fallback = otherwise === undefined ? { written: child.default } : { words: otherwise };
    known.set(path, { path, description, form, fallback, textOnly: type === "string", secret });
  }
}

const known = new Map<string, KnownKey>();
const groups = new Set<string>();
collect(node.parse(configSchemaJson()).properties ?? {}, "");

/** Every key by its path, in the order of the schema. */
export const knownKeys: ReadonlyMap<string, KnownKey> = known;
/** Every path that holds keys, such as `log`. */
export const keyGroups: ReadonlySet<string> = groups;
