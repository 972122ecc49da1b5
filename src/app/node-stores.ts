/** What a node keeps its things in, as its parent process sees them: one way of opening for each kind of `config.stores`. */
import type { OwnLogger } from "../base/log.ts";
import type { ObjectStore } from "../blobs/objects.ts";
import type { BlobStore } from "../blobs/port.ts";
import type { Config } from "../config/config.ts";
import type { Recorder } from "../journal/index.ts";
import type { Committer } from "../meta/link/server.ts";
import type { MetaStore } from "../meta/port.ts";
import type { Presence } from "../meta/presence.ts";
import type { BucketAccess } from "./bucket.ts";
import type { ClusterNode } from "./cluster-node.ts";
import type { Front } from "./cluster-waiting.ts";
import type { ForeignPlace } from "./foreign-place.ts";

export interface NodeStores extends AsyncDisposable {
  /** Commits are answered once the journal allows it. */
  readonly meta: MetaStore;
  /** For workers that cannot hear of the store's revisions otherwise. */
  readonly revisions: Committer["revisions"];
  readonly blobs: BlobStore;
  /** Where the journal is. */
  readonly objects: ObjectStore;
  readonly recorder: Recorder;
  /** What another registry has left in this place. */
  readonly foreign: ForeignPlace | undefined;
  /** The bucket, as workers open it too. */
  readonly bucket: BucketAccess | undefined;
  /** The node as a part of its cluster. */
  readonly cluster?: ClusterNode;
  /** Who else lives; only where several nodes share the stores. */
  readonly presence: Presence | undefined;
  /** Lets the database forget its history up to a revision, where nobody else does. */
  readonly forget?: (revision: number) => Promise<void>;
}

export interface NodeOptions {
  readonly config: Config;
  /** Where clients find the node; without it nobody is served while it starts. */
  readonly front?: Front;
  readonly log: OwnLogger;
  /** Names this process among all that ever ran. */
  readonly run: string;
  /** Called once when the node must not go on, with a sentence. */
  readonly lost: (reason: string) => void;
  /** Ends a start that waits for others; default never. What was opened by then is closed, and the reason thrown. */
  readonly signal?: AbortSignal;
}
