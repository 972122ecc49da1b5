import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Something to look for where no secret may be. */
export const hunter = "hunter2-hunter2";

/** The same where a secret has to be long: 47 characters. */
export const longHunter = `${hunter}+${hunter}+${hunter}`;

const pem = (kind: string) => `-----BEGIN ${kind}-----\nMA==\n-----END ${kind}-----\n`;

/** Writes what the sections below name into a directory. */
export function writeStoreFiles(cwd: string): void {
  const files = {
    "ca.pem": pem("CERTIFICATE"),
    "client.pem": pem("CERTIFICATE"),
    "client.key": pem("EC PRIVATE KEY"),
    id: "file-id\n",
    key: `${hunter}\r\n`,
    token: "file-token",
    grant: `${hunter}\n\n`,
    "pg.password": hunter,
    "pg.url": `postgres://me:${hunter}@db/images\n`,
    "etcd.password": hunter,
    "cluster.secret": `${longHunter}\n`,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text);
}

const redirect = { enabled: true, ttl: "1h", exceptUserAgents: ["containerd/"] };

/** Sections that together hold every key of `metadata` and `storage`: secrets written out, and secrets in files. */
export const storeSections = [
  {
    metadata: {
      postgres: {
        url: "postgres://me@a:5433,[::1]/images",
        password: hunter,
        connections: 7,
        tls: { mode: "verify-full", ca: "ca.pem" },
      },
    },
    storage: {
      s3: {
        bucket: "images",
        prefix: "some/where",
        endpoint: "https://s3.example.com:9000",
        region: "eu-west-1",
        pathStyle: false,
        accessKeyId: "AKIA",
        secretAccessKey: hunter,
        sessionToken: hunter,
        ca: "ca.pem",
        redirect,
      },
    },
  },
  {
    metadata: {
      etcd: {
        endpoints: ["https://a:2379", "https://b:2379"],
        prefix: "/registry/",
        username: "me",
        password: hunter,
        tls: { ca: "ca.pem", cert: "client.pem", key: "client.key" },
      },
    },
    storage: {
      storj: {
        bucket: "images",
        prefix: "p/",
        accessGrant: hunter,
        authService: "http://127.0.0.1:8888",
        endpoint: "http://gateway:7777",
        redirect,
      },
    },
  },
  {
    metadata: { postgres: { urlFile: "pg.url" } },
    storage: {
      s3: {
        bucket: "images",
        accessKeyIdFile: "id",
        secretAccessKeyFile: "key",
        sessionTokenFile: "token",
      },
    },
  },
  {
    metadata: { postgres: { url: "postgres://me@db", passwordFile: "pg.password" } },
    storage: { storj: { bucket: "images", accessGrantFile: "grant" } },
  },
  {
    metadata: {
      etcd: { endpoints: "http://a:2379", username: "me", passwordFile: "etcd.password" },
    },
    storage: { s3: { bucket: "images" } },
  },
  { storage: { s3: { bucket: "images.example.com" } } },
] as const;

/** Sections that together hold every key of `cluster`. */
export const clusterSections = [
  {
    cluster: {
      node: "n2",
      members: { n1: "10.0.0.1:5080", n2: "N2.example.com:5090", n3: "[fd00::3]:5080" },
      address: "n2.example.com:5090",
      listen: "10.0.0.2:5080",
      secret: longHunter,
      copies: 5,
      durableCopies: 4,
      zone: "rack-1",
      downAfter: "1h",
      etcd: {
        peerPort: 6081,
        clientPort: 6082,
        binary: "tools/etcd",
        heartbeat: "200ms",
        electionTimeout: "2s",
      },
      healing: { bytesPerSecond: "50MB" },
    },
  },
  {
    cluster: {
      join: ["10.0.0.1:5080", "10.0.0.2:5080"],
      address: "127.0.0.4:5080",
      secretFile: "cluster.secret",
      etcd: {
        endpoints: ["https://a:2379", "https://b:2379"],
        prefix: "registry/",
        username: "me",
        password: longHunter,
        tls: { ca: "ca.pem", cert: "client.pem", key: "client.key" },
      },
    },
  },
  {
    cluster: {
      join: "10.0.0.1:5080",
      address: "10.0.0.4:5080",
      secretFile: "cluster.secret",
      etcd: { endpoints: "http://a:2379", username: "me", passwordFile: "etcd.password" },
    },
  },
] as const;
