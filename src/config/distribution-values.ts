import type { DistributionTree } from "./distribution-tree.ts";
import { isMap } from "./tree.ts";

/** An option that has a key of ours. `read` gives `undefined` for a value that changes nothing. */
export interface Mapping {
  readonly from: string;
  readonly to: string;
  readonly read: (value: unknown, tree: DistributionTree) => unknown;
}

/** An option that protects or changes the job, and that this version cannot honour. */
export interface Stop {
  readonly path: string;
  readonly applies: (tree: DistributionTree) => boolean;
  readonly why: string;
}

/** An option without which the registry does the same. */
export interface Skip {
  readonly path: string;
  readonly why: string;
  readonly applies?: (tree: DistributionTree) => boolean;
}

export const unsupported =
  "this is not supported by this version, and Holdfast refuses to start rather than";
export const unprotected = `${unsupported} serve without the protection you asked for`;

export const text = (value: unknown): unknown => {
  if (value === undefined || value === null || value === "") return undefined;
  return typeof value === "object" ? value : `${value as string | number | boolean}`;
};

export const lowerCase = (value: unknown): unknown => {
  const written = text(value);
  return typeof written === "string" ? written.toLowerCase() : written;
};

/** Go's durations: a text such as `2h10m`, or a plain number of nanoseconds. */
export const duration = (value: unknown): unknown => {
  const written = text(value);
  const nanoseconds = Number(written);
  return written === undefined || Number.isNaN(nanoseconds)
    ? written
    : `${Math.ceil(nanoseconds / 1e6)}ms`;
};

/** There is something in it: not empty, and not only entries that say `disabled: true`. */
export function written(value: unknown): boolean {
  if (isMap(value)) return !isTrue(value["disabled"]) && Object.values(value).some(written);
  if (Array.isArray(value)) return value.some(written);
  return value !== undefined && value !== null && value !== "";
}

/** Truth as Go's YAML 1.1 reads it. */
export function isTrue(value: unknown): boolean {
  return ["true", "yes", "on", "y"].includes(String(value).toLowerCase());
}

export function isFalse(value: unknown): boolean {
  return ["false", "no", "off", "n"].includes(String(value).toLowerCase());
}
