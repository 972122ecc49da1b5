/** Least number of single-character insertions, deletions and replacements that turn `a` into `b`. */
export function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (const [row, left] of Array.from(a).entries()) {
    const current = [row + 1];
    for (const [column, right] of Array.from(b).entries())
      current.push(
        Math.min(
          (previous[column] ?? 0) + (left === right ? 0 : 1),
          (previous[column + 1] ?? 0) + 1,
          (current[column] ?? 0) + 1,
        ),
      );
    previous = current;
  }
  return previous[b.length] ?? 0;
}

/** So much of a name may be wrong, and it is still a slip of that name. */
const SLIP = 1 / 3;

/**
 * The known name nearest to an unknown one, if any is near. The last part of a dotted path counts alone too, so `level`
 * finds `log.level`.
 */
export function nearest(unknown: string, known: Iterable<string>): string | undefined {
  const text = unknown.slice(0, 100).toLowerCase();
  let best: { name: string; distance: number } | undefined;
  for (const name of known) {
    const candidate = name.toLowerCase();
    const distance = Math.min(
      slip(text, candidate),
      slip(lastPart(text), lastPart(candidate)) + 0.5,
    );
    if (distance < (best?.distance ?? Number.POSITIVE_INFINITY)) best = { name, distance };
  }
  return best?.name;
}

/** The edit distance, infinite for names that have little in common. */
function slip(a: string, b: string): number {
  const distance = editDistance(a, b);
  return distance <= a.length * SLIP ? distance : Number.POSITIVE_INFINITY;
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1);
}
