import type { Place, Server } from "../servers.ts";
import { startDistribution, startHoldfast } from "../servers.ts";
import type { SharedStores } from "./stores.ts";

/** A node of Holdfast on this database, below this prefix of the bucket "holdfast"; `endpoint` where it is not the S3 server's own. */
export const startNode = (
  place: Place,
  workers: number,
  stores: SharedStores,
  where: { readonly database: string; readonly prefix: string; readonly endpoint?: string },
): Promise<Server> =>
  startHoldfast(place, workers, {
    HOLDFAST_METADATA_POSTGRES_URL: where.database,
    HOLDFAST_STORAGE_S3_BUCKET: "holdfast",
    HOLDFAST_STORAGE_S3_PREFIX: where.prefix,
    HOLDFAST_STORAGE_S3_ENDPOINT: where.endpoint ?? stores.endpoint,
    HOLDFAST_STORAGE_S3_REGION: "us-east-1",
    HOLDFAST_STORAGE_S3_PATH_STYLE: "true",
    HOLDFAST_STORAGE_S3_ACCESS_KEY_ID: stores.accessKeyId,
    HOLDFAST_STORAGE_S3_SECRET_ACCESS_KEY: stores.secretAccessKey,
  });

/** Two nodes as one server. One worker each: together as many as the single node has. */
export const startTwoNodes = async (
  places: readonly [Place, Place],
  stores: SharedStores,
): Promise<Server> => {
  const where = { database: await stores.createDatabase("two"), prefix: "two/" };
  const first = await startNode(places[0], 1, stores, where);
  const second = await startNode(places[1], 1, stores, where);
  return {
    ...first,
    name: "two nodes",
    more: [second],
    stop: async () => void (await Promise.all([first.stop(), second.stop()])),
  };
};

/** distribution on a bucket of its own, all bytes through itself. */
export const startDistributionOnS3 = (
  place: Place,
  stores: SharedStores,
  bucket: string,
  endpoint = stores.endpoint,
): Promise<Server> => {
  const access = `accesskey: ${stores.accessKeyId}, secretkey: ${stores.secretAccessKey}`;
  const how = "region: us-east-1, forcepathstyle: true, secure: false";
  return startDistribution(
    place,
    `s3: { bucket: ${bucket}, regionendpoint: "${endpoint}", ${access}, ${how} }
  redirect: { disable: true }`,
  );
};
