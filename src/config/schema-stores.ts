import { z } from "zod";
import { postgresTlsModes } from "./database.ts";
import { parseOrigin } from "./origin.ts";
import { shown, type Parsed } from "./parsed.ts";
import { count, duration, each, key, lift, path, secret, secretFile, text } from "./schema-key.ts";

const DAY_MS = 86_400_000;

const bucketForm = "the name of a bucket, 3 to 63 characters (a folder in it goes to prefix)";
const bucketName = /^[a-z0-9][a-z0-9._-]{1,62}$/i;
const names = /^(?!.*(?:^|\/)\.\.?(?:\/|$))[a-z0-9._-]+(?:\/[a-z0-9._-]+)*$/i;

/** `images`, `/images/` → `images/`; empty stays empty. */
function parsePrefix(written: string): Parsed<string> {
  const bare = written.replace(/^\/+/, "").replace(/\/+$/, "");
  if (bare === "") return { value: "" };
  return names.test(bare) && bare.length <= 500
    ? { value: `${bare}/` }
    : {
        problem: `${shown(written)} is not accepted; write names of letters, digits, ".", "_" and "-", with "/" between them`,
      };
}

const bucket = key(
  z
    .string()
    .transform(lift(text(bucketName, bucketForm)))
    .optional(),
  "The bucket; it has to be there.",
  { form: bucketForm, otherwise: "none" },
);

const prefix = key(
  z.string().transform(lift(parsePrefix)).prefault(""),
  "What the names of all objects begin with, so that several things can share a bucket.",
  { form: "names with / between them, or nothing" },
);

/** Keys that every kind of bucket has. */
const transfer = {
  redirect: z
    .strictObject({
      enabled: key(
        z.boolean().prefault(false),
        "Answer GET of a blob with a presigned address of the bucket, so that the bytes do not pass through the registry. Clients have to reach the bucket themselves.",
        { form: "true or false" },
      ),
      ttl: duration("10m", 10_000, "How long a presigned address is good; at most 7d.", 7 * DAY_MS),
      exceptUserAgents: key(
        z.array(z.string().min(1)).prefault([]),
        "Clients that get the bytes from the registry all the same: those whose `User-Agent` contains one of these, in any case.",
        { form: 'a list of texts, such as ["containerd/", "buildkit"]' },
      ),
    })
    .prefault({}),
};

const endpoint = (example: string, description: string, otherwise: string) =>
  key(
    z
      .string()
      .transform(lift(parseOrigin(example)))
      .optional(),
    description,
    { form: `scheme, host and port, such as "${example}"`, otherwise },
  );

const s3 = z
  .strictObject({
    bucket,
    prefix,
    endpoint: endpoint(
      "https://s3.example.com:9000",
      "Where the S3 server is.",
      "AWS, in `storage.s3.region`",
    ),
    region: key(
      z
        .string()
        .transform(lift(text(/^[a-z0-9-]{1,64}$/i, 'the name of a region, such as "us-east-1"')))
        .prefault("us-east-1"),
      "The region that requests are signed for.",
      { form: 'the name of a region, such as "us-east-1"' },
    ),
    pathStyle: key(
      z.boolean().optional(),
      "The bucket stands in the path (`https://host/bucket/…`) rather than in the host name (`https://bucket.host/…`).",
      {
        form: "true or false",
        otherwise: "`true` with an `endpoint` or a dot in the bucket's name, else `false`",
      },
    ),
    accessKeyId: secret(
      "The access key's id. Without any key the standard chain of AWS is used: environment, files, web identity, instance.",
    ),
    accessKeyIdFile: secretFile("`storage.s3.accessKeyId`"),
    secretAccessKey: secret("The secret that belongs to the access key."),
    secretAccessKeyFile: secretFile("`storage.s3.secretAccessKey`"),
    sessionToken: secret("The token of temporary keys."),
    sessionTokenFile: secretFile("`storage.s3.sessionToken`"),
    ca: path(
      "Certificates (PEM) of authorities to trust for `endpoint`, instead of the system's.",
      "none",
    ),
    ...transfer,
  })
  .prefault({});

const storj = z
  .strictObject({
    bucket,
    prefix,
    accessGrant: secret(
      "The access grant: may read, write, list and delete in the bucket. S3 credentials are registered with it once.",
    ),
    accessGrantFile: secretFile("`storage.storj.accessGrant`"),
    authService: key(
      z
        .string()
        .transform(lift(parseOrigin("https://auth.storjshare.io")))
        .prefault("https://auth.storjshare.io"),
      "The service that the access grant is given to for S3 credentials; https, or http on this machine.",
      { form: 'scheme, host and port, such as "https://auth.storjshare.io"' },
    ),
    endpoint: endpoint(
      "https://gateway.storjshare.io",
      "The S3 gateway, instead of the one that the auth service names.",
      "what the auth service names",
    ),
    ...transfer,
  })
  .prefault({});

export const storage = z.strictObject({ s3, storj }).prefault({});

const postgres = z
  .strictObject({
    url: key(
      z.string().min(1).optional(),
      "The PostgreSQL database (13 or later) that holds the metadata. Several hosts may be named (`postgres://user@a:5432,b:5432/db`): the one that takes writes is used. Its password is never printed.",
      {
        form: 'an address such as "postgres://user@host:5432/database"',
        otherwise: "none",
        secret: true,
      },
    ),
    urlFile: secretFile("`metadata.postgres.url`"),
    password: secret("The password, where it does not stand in the address."),
    passwordFile: secretFile("`metadata.postgres.password`"),
    connections: count(
      3,
      1000,
      "Most connections of one process (each worker is one); at least 2 are used.",
    ),
    tls: z
      .strictObject({
        mode: key(
          z.enum(postgresTlsModes).optional(),
          "`prefer`: encrypted where the server can; `require`: encrypted, whoever answers; `verify-full`: the certificate and its name are checked too.",
          {
            form: `one of ${postgresTlsModes.join(", ")}`,
            otherwise:
              "`sslmode` of the address, else `verify-full` with a `ca` and `prefer` without",
          },
        ),
        ca: path(
          "Certificates (PEM) of the authorities to trust for the database, instead of the system's.",
          "the system's",
        ),
      })
      .prefault({}),
  })
  .prefault({});

const etcdPrefix = /^\/?(?:[a-z0-9._-]+\/)+$/i;
const etcdPrefixForm = 'a text that ends with "/", such as "holdfast/"';

/** How an etcd cluster that is there already is reached; `at`: the section of these keys. */
export const etcdKeys = (at: string, description: string) => ({
  endpoints: key(
    z
      .union([z.string(), z.array(z.string()).min(1)])
      .transform(lift(each(parseOrigin("http://10.0.0.1:2379"))))
      .optional(),
    description,
    {
      form: 'an address such as "http://10.0.0.1:2379", or a list of them',
      otherwise: "none",
    },
  ),
  prefix: key(
    z
      .string()
      .transform(lift(text(etcdPrefix, etcdPrefixForm)))
      .prefault("holdfast/"),
    "What all keys begin with, so that several things can share a cluster.",
    { form: etcdPrefixForm },
  ),
  username: key(
    z.string().min(1).optional(),
    "The user, where etcd asks for one. Set together with a password.",
    { form: "a text", otherwise: "none" },
  ),
  password: secret("The password of the user."),
  passwordFile: secretFile(`\`${at}.password\``),
  tls: z
    .strictObject({
      ca: path(
        "Certificates (PEM) of the authorities to trust for etcd, instead of the system's.",
        "the system's",
      ),
      cert: path(
        "The client's certificate chain (PEM), where etcd asks for one. Set together with `key`.",
        "none",
      ),
      key: path("The private key (PEM) of that certificate.", "none"),
    })
    .prefault({}),
});

const etcd = z
  .strictObject(
    etcdKeys(
      "metadata.etcd",
      "The members of the etcd cluster (3.4 or later) that holds the metadata.",
    ),
  )
  .prefault({});

export const metadata = z.strictObject({ postgres, etcd }).prefault({});
