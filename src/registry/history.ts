/** Where a tag has been: who moved it, when, from which digest to which. */
import { keys, lastPart } from "../meta/keys.ts";
import type { RepositoryName, Tag } from "../oci/name.ts";
import type { Context } from "./context.ts";

/** Number of the latest move of a tag that does not exist now; 0 when it never did. */
export async function latestMove(ctx: Context, name: RepositoryName, tag: Tag): Promise<number> {
  const prefix = keys.histories(name, tag);
  const { entries } = await ctx.meta.scan({ prefix, limit: 1, reverse: true });
  return entries[0] === undefined ? 0 : Number(lastPart(entries[0].key));
}
