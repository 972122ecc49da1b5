import { parseListen } from "./listen.ts";
import type { SchemaOutput } from "./schema.ts";
import type { Section } from "./section.ts";
import type { S3Config, S3Credentials, StorjConfig } from "./stores.ts";

type S3 = SchemaOutput["storage"]["s3"];
type Storj = SchemaOutput["storage"]["storj"];

const nameIt = "name the bucket, which has to be there already";

/** `undefined` when there are problems; they are in the section's findings. */
export function resolveS3(data: S3, section: Section): S3Config | undefined {
  const { prefix, endpoint, region, redirect } = data;
  const bucket = section.required("bucket", data.bucket, nameIt);
  const credentials = resolveKeys(data, section);
  const ca = section.pem("ca", data.ca);
  if (data.ca !== undefined && endpoint?.startsWith("https:") !== true)
    section.problem(
      "ca",
      "there is no https endpoint that it could be for; set storage.s3.endpoint, or remove it",
    );
  if (bucket === undefined) return undefined;
  const pathStyle = data.pathStyle ?? (endpoint !== undefined || bucket.includes("."));
  const common = { bucket, prefix, redirect };
  return { kind: "s3", ...common, endpoint, region, pathStyle, credentials, ca };
}

function resolveKeys(data: S3, section: Section): S3Credentials | undefined {
  const accessKeyId = section.secret("accessKeyId", data.accessKeyId, data.accessKeyIdFile);
  const secretAccessKey = section.secret(
    "secretAccessKey",
    data.secretAccessKey,
    data.secretAccessKeyFile,
  );
  const sessionToken = section.secret("sessionToken", data.sessionToken, data.sessionTokenFile);
  const has = (name: string) => section.has(name) || section.has(`${name}File`);
  const [id, key] = [has("accessKeyId"), has("secretAccessKey")];
  if (section.half("accessKeyId", "secretAccessKey", id, key)) return undefined;
  if (has("sessionToken") && !id)
    section.problem(
      section.has("sessionToken") ? "sessionToken" : "sessionTokenFile",
      "it is set without storage.s3.accessKeyId and secretAccessKey; set all three, or none",
    );
  if (!accessKeyId || !secretAccessKey) return undefined;
  return { accessKeyId, secretAccessKey, sessionToken };
}

/** `undefined` when there are problems; they are in the section's findings. */
export function resolveStorj(data: Storj, section: Section): StorjConfig | undefined {
  const { prefix, authService, endpoint, redirect } = data;
  const bucket = section.required("bucket", data.bucket, nameIt);
  const accessGrant = section.secret("accessGrant", data.accessGrant, data.accessGrantFile);
  if (!section.has("accessGrant") && !section.has("accessGrantFile"))
    section.problem(
      "accessGrant",
      "it is not set; set it or storage.storj.accessGrantFile to a grant that may read, write, list and delete in the bucket",
    );
  if (!isPrivate(authService))
    section.problem(
      "authService",
      `"${authService}" would send the access grant in the clear; write https, or an address of this machine`,
    );
  if (bucket === undefined || !accessGrant) return undefined;
  const common = { bucket, prefix, redirect };
  return { kind: "storj", ...common, accessGrant, authService, endpoint };
}

/** Nobody on the way can read what is sent to this origin. */
function isPrivate(origin: string): boolean {
  const { protocol, hostname } = new URL(origin);
  const address = parseListen(`${hostname}:0`);
  return protocol === "https:" || ("value" in address && address.value.loopback);
}
