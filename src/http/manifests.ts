/** PUT and DELETE of manifests and tags: distribution-spec §Pushing manifests, §Content management. */
import { OciError } from "../oci/errors.ts";
import { parseMediaType } from "../oci/media-type.ts";
import { parseTag, type RepositoryName, type Tag } from "../oci/name.ts";
import type { Reference } from "../oci/route.ts";
import { readBody } from "./body.ts";
import type { Call } from "./call.ts";
import { preconditionOf } from "./conditional.ts";
import { answer } from "./respond.ts";

export async function putManifest(
  call: Call,
  name: RepositoryName,
  reference: Reference,
): Promise<Response> {
  const { request, config, registry, caller } = call;
  const tags = reference.kind === "digest" ? tagsOf(call) : [];
  const bytes = await readBody(call.body, config.limits.manifestBytes, "limits.manifestBytes");
  const { digest, subject } = await registry.pushManifest(caller, {
    name,
    reference,
    contentType: parseMediaType(request.headers.get("content-type")),
    bytes,
    tags,
    precondition: preconditionOf(request.headers),
  });
  return answer(201, {
    Location: call.link(`/v2/${name}/manifests/${digest}`),
    "Docker-Content-Digest": digest,
    ...(subject === undefined ? {} : { "OCI-Subject": subject }),
    ...(tags.length === 0 ? {} : { "OCI-Tag": tags.join(", ") }),
  });
}

export async function deleteManifest(
  call: Call,
  name: RepositoryName,
  reference: Reference,
): Promise<Response> {
  await call.registry.deleteManifest(call.caller, name, reference);
  return answer(202, {});
}

function tagsOf(call: Call): Tag[] {
  const max = call.config.limits.tagsPerPush;
  const texts = [...new Set(call.query.all("tag"))];
  if (texts.length > max) {
    throw new OciError(
      "UNSUPPORTED",
      `at most ${max} tags may be set by one push (limits.tagsPerPush)`,
      {
        status: 414,
      },
    );
  }
  return texts.map((text) => parseTag(text) ?? refuse(text));
}

function refuse(text: string): never {
  throw new OciError(
    "MANIFEST_INVALID",
    "tag invalid: letters, digits, _ . - and at most 128 of them, no . or - in front",
    {
      detail: { tag: text.slice(0, 256) },
    },
  );
}
