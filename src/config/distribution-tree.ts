import { parse } from "yaml";
import type { Source } from "./problem.ts";
import { isMap } from "./tree.ts";
import type { YamlFile } from "./yaml-file.ts";

/**
 * A distribution configuration: its file, overlaid by `REGISTRY_` variables in its own way (docs/content/about/configuration.md
 * and configuration/parser.go of distribution v3): `_` separates levels, names are lower-case, a number is an index
 * of a list, the value is YAML, and shorter names are applied first.
 */
export class DistributionTree {
  readonly #file: YamlFile | undefined;
  readonly #variables = new Map<string, string>();
  #root: unknown;

  constructor(file: YamlFile | undefined) {
    this.#file = file;
    this.#root = file?.tree ?? {};
  }

  /** Applies one variable. Apply them sorted by name. */
  overlay(variable: string, text: string): void {
    const path = variable.toLowerCase().split("_").slice(1);
    this.#root = assign(this.#root, path, scalar(text));
    this.#variables.set(path.join("."), variable);
  }

  /** The value at a dotted path; a name alone (`storage: inmemory`) stands for a map with that one key. */
  get(path: string): unknown {
    let node = this.#root;
    for (const name of path.split(".")) {
      if (Array.isArray(node)) node = node[Number(name)];
      else node = asMap(node)[name];
    }
    return node;
  }

  /** Names of the keys below a path. */
  names(path: string): string[] {
    return Object.keys(asMap(this.get(path)));
  }

  /** Dotted paths of everything that is written and is no map with keys. */
  leaves(): string[] {
    return leavesOf(this.#root, "");
  }

  /** Who wrote the value at a path: a variable for it, its section or its content, else the file. */
  source(path: string): Source {
    const name = this.#variable(path) ?? this.#file?.where(path.split(".")) ?? path;
    return { kind: "distribution", name };
  }

  /** Some of it is set by a variable rather than by the file. */
  fromVariable(path: string): boolean {
    return this.#variable(path) !== undefined;
  }

  #variable(path: string): string | undefined {
    for (let end = path.length; end > 0; end = path.lastIndexOf(".", end - 1)) {
      const found = this.#variables.get(path.slice(0, end));
      if (found !== undefined) return found;
    }
    const below = [...this.#variables.keys()].find((key) => key.startsWith(`${path}.`));
    return below === undefined ? undefined : this.#variables.get(below);
  }
}

function asMap(node: unknown): Record<string, unknown> {
  if (isMap(node)) return node;
  return typeof node === "string" && node !== "" ? { [node]: null } : {};
}

function leavesOf(node: unknown, path: string): string[] {
  if (!isMap(node) || Object.keys(node).length === 0) return path === "" ? [] : [path];
  return Object.entries(node).flatMap(([name, child]) =>
    leavesOf(child, path === "" ? name : `${path}.${name}`),
  );
}

function assign(node: unknown, path: readonly string[], value: unknown): unknown {
  const [head, ...rest] = path;
  if (head === undefined) return value;
  if (Array.isArray(node)) {
    const index = Math.min(/^\d+$/.test(head) ? Number(head) : node.length, node.length);
    return node.toSpliced(index, 1, assign(node[index], rest, value));
  }
  const map = asMap(node);
  return { ...map, [head]: assign(map[head], rest, value) };
}

/** Numbers stay text (`0500` is a password as well as a number); what is no YAML (`[::1]:5000`) is text too. */
function scalar(text: string): unknown {
  try {
    const value: unknown = parse(text, { logLevel: "error" });
    return typeof value === "number" ? text.trim() : value;
  } catch {
    return text;
  }
}
