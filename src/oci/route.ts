/** Paths of the distribution API as values: distribution-spec §Endpoints. */
import { parseDigest, type Digest } from "./digest.ts";
import { OciError } from "./errors.ts";
import { parseName, parseTag, type RepositoryName, type Tag } from "./name.ts";

/** A manifest's name within its repository. */
export type Reference =
  | { readonly kind: "tag"; readonly tag: Tag }
  | { readonly kind: "digest"; readonly digest: Digest };

/** What a path addresses. `template` names the endpoint in metrics and logs, with bounded cardinality. */
export type Route =
  | { readonly kind: "ping"; readonly template: "/v2/" }
  | { readonly kind: "catalog"; readonly template: "/v2/_catalog" }
  | {
      readonly kind: "blob";
      readonly template: "/v2/{name}/blobs/{digest}";
      readonly name: RepositoryName;
      readonly digest: Digest;
    }
  | {
      readonly kind: "manifest";
      readonly template: "/v2/{name}/manifests/{reference}";
      readonly name: RepositoryName;
      readonly reference: string;
    }
  | {
      readonly kind: "uploads";
      readonly template: "/v2/{name}/blobs/uploads/";
      readonly name: RepositoryName;
    }
  | {
      readonly kind: "upload";
      readonly template: "/v2/{name}/blobs/uploads/{id}";
      readonly name: RepositoryName;
      readonly id: string;
    }
  | {
      readonly kind: "tags";
      readonly template: "/v2/{name}/tags/list";
      readonly name: RepositoryName;
    }
  | {
      readonly kind: "referrers";
      readonly template: "/v2/{name}/referrers/{digest}";
      readonly name: RepositoryName;
      readonly digest: Digest;
    };

/**
 * Parses a raw (still percent-encoded) path. Names may contain any of the API's own words, so the path is
 * matched from its right end. Returns `undefined` for paths outside the API; throws `OciError` NAME_INVALID or
 * DIGEST_INVALID where the form is right and a part is not.
 */
export function parseRoute(path: string): Route | undefined {
  if (path === "/v2/" || path === "/v2") return { kind: "ping", template: "/v2/" };
  if (!path.startsWith("/v2/")) return undefined;
  if (path === "/v2/_catalog" || path === "/v2/_catalog/")
    return { kind: "catalog", template: "/v2/_catalog" };

  const parts = path.slice(4).split("/");
  if (path.includes("%") && !decodeAll(parts)) return undefined;
  const last = parts.at(-1) ?? "";
  const word = parts.at(-2) ?? "";
  const before = parts.at(-3) ?? "";

  if (word === "uploads" && before === "blobs" && parts.length > 3) {
    const name = nameOf(parts, 3);
    return last === ""
      ? { kind: "uploads", template: "/v2/{name}/blobs/uploads/", name }
      : { kind: "upload", template: "/v2/{name}/blobs/uploads/{id}", name, id: last };
  }
  if (parts.length < 3) return undefined;
  switch (word) {
    case "manifests":
      return {
        kind: "manifest",
        template: "/v2/{name}/manifests/{reference}",
        name: nameOf(parts, 2),
        reference: last,
      };
    case "blobs":
      return last === "uploads"
        ? { kind: "uploads", template: "/v2/{name}/blobs/uploads/", name: nameOf(parts, 2) }
        : {
            kind: "blob",
            template: "/v2/{name}/blobs/{digest}",
            name: nameOf(parts, 2),
            digest: digestOf(last),
          };
    case "referrers":
      return {
        kind: "referrers",
        template: "/v2/{name}/referrers/{digest}",
        name: nameOf(parts, 2),
        digest: digestOf(last),
      };
    case "tags":
      return last === "list"
        ? { kind: "tags", template: "/v2/{name}/tags/list", name: nameOf(parts, 2) }
        : undefined;
    default:
      return undefined;
  }
}

/** A tag or a digest; `undefined` for a malformed tag. Throws DIGEST_INVALID for what can only be meant as a digest. */
export function parseReference(text: string): Reference | undefined {
  if (text.includes(":")) return { kind: "digest", digest: digestOf(text) };
  const tag = parseTag(text);
  return tag === undefined ? undefined : { kind: "tag", tag };
}

function digestOf(text: string): Digest {
  const digest = parseDigest(text);
  if (digest === undefined) {
    throw new OciError(
      "DIGEST_INVALID",
      "digest invalid: expected sha256:<64 lower-case hex digits> or sha512:<128>",
      {
        detail: { digest: text.slice(0, 256) },
      },
    );
  }
  return digest;
}

function nameOf(parts: readonly string[], tail: number): RepositoryName {
  const text = parts.slice(0, -tail).join("/");
  const name = parseName(text);
  if (name === undefined) {
    throw new OciError(
      "NAME_INVALID",
      "repository name invalid: lower-case letters, digits and single separators . _ __ - in components joined by /, at most 255 characters",
      {
        detail: { name: text.slice(0, 256) },
      },
    );
  }
  return name;
}

/** Decodes each part in place; one with an encoded slash stays as it came, so that no grammar lets it pass. */
function decodeAll(parts: string[]): boolean {
  try {
    for (const [i, part] of parts.entries()) {
      const decoded = decodeURIComponent(part);
      if (!decoded.includes("/")) parts[i] = decoded;
    }
    return true;
  } catch {
    return false;
  }
}
