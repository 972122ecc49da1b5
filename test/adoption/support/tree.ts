/** A directory as one text: every name, kind and content in it. */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

export function treeOf(directory: string): string {
  const lines: string[] = [];
  const walk = (path: string): void => {
    for (const name of readdirSync(join(directory, path)).toSorted()) {
      const inside = join(path, name);
      const full = join(directory, inside);
      const stats = lstatSync(full);
      const facts = `${stats.mode} ${stats.mtimeMs} ${stats.nlink}`;
      if (stats.isDirectory()) {
        lines.push(`${inside}/ ${facts}`);
        walk(inside);
      } else if (stats.isSymbolicLink()) lines.push(`${inside} -> ${readlinkSync(full)}`);
      else if (stats.isFile()) {
        lines.push(`${inside} ${facts} ${Bun.hash(readFileSync(full))}`);
      } else lines.push(`${inside} special`);
    }
  };
  walk(".");
  return lines.join("\n");
}
