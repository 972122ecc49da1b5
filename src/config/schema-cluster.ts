import { z } from "zod";
import { parseListen } from "./listen.ts";
import { NODE_NAME, nodeNameForm } from "./node-name.ts";
import { parseMembers, parsePeerAddress } from "./peer-address.ts";
import {
  count,
  duration,
  each,
  key,
  lift,
  path,
  secret,
  secretFile,
  size,
  text,
} from "./schema-key.ts";
import { etcdKeys } from "./schema-stores.ts";

/** As etcd has it. */
const ELECTION_MAX_MS = 50_000;
const COPIES_MAX = 7;

const membersForm = 'a map of names and addresses, such as {"n1":"10.0.0.1:5080"}';
const zoneForm = 'letters, digits, ".", "_" and "-", at most 63, such as "rack-1"';

function port(fallback: number, description: string) {
  return key(z.int().min(1).max(65_535).prefault(fallback), description, {
    form: "a port from 1 to 65535",
  });
}

const etcd = z
  .strictObject({
    peerPort: port(
      5081,
      "Where the members of the etcd that Holdfast starts beside each node talk to each other (mutual TLS); the same on every node.",
    ),
    clientPort: port(5082, "Where nodes reach that etcd (mutual TLS); the same on every node."),
    binary: path(
      "The etcd program (3.4 or later, but not 3.5.0 to 3.5.2).",
      "`etcd` on the `PATH`",
    ),
    heartbeat: duration(
      "100ms",
      10,
      "How often the leader of etcd says that it is alive; about the time of a round trip between the nodes, or more.",
      ELECTION_MAX_MS / 5,
    ),
    electionTimeout: duration(
      "1s",
      50,
      "How long etcd waits for that before it elects another leader; at least 5 times `cluster.etcd.heartbeat`, at most 50s.",
      ELECTION_MAX_MS,
    ),
    ...etcdKeys(
      "cluster.etcd",
      "The members of an etcd cluster of your own (3.4 or later), which then holds the metadata: Holdfast starts none.",
    ),
  })
  .prefault({});

export const cluster = z
  .strictObject({
    node: key(
      z
        .string()
        .transform(lift(text(NODE_NAME, nodeNameForm)))
        .optional(),
      "This node's name.",
      { form: nodeNameForm, otherwise: "the host name up to its first dot, in lower case" },
    ),
    members: key(
      z.record(z.string(), z.string()).transform(lift(parseMembers)).optional(),
      "All nodes that form the cluster, by name, with the address where the others reach each one's peer port; this node among them. Used once, when the cluster is formed.",
      { form: membersForm, otherwise: "none" },
    ),
    join: key(
      z
        .union([z.string(), z.array(z.string()).min(1)])
        .transform(lift(each(parsePeerAddress)))
        .optional(),
      "For a node that comes later, instead of `cluster.members`: peer addresses of nodes that let it in.",
      { form: 'an address such as "10.0.0.1:5080", or a list of them', otherwise: "none" },
    ),
    address: key(
      z.string().transform(lift(parsePeerAddress)).optional(),
      "Where the other nodes reach this node's peer port. Needed with `cluster.join`.",
      {
        form: 'host and port, such as "10.0.0.1:5080"',
        otherwise: "what `cluster.members` says of this node",
      },
    ),
    listen: key(
      z.string().transform(lift(parseListen)).optional(),
      "Where this node listens for the others (mutual TLS).",
      {
        form: 'an address such as ":5080" or "10.0.0.1:5080"',
        otherwise:
          "the port of `cluster.address` on every interface; that address itself where it is loopback",
      },
    ),
    secret: secret(
      "What makes a machine a node of this cluster: the same on every node, at least 32 bytes (`openssl rand -hex 32`).",
    ),
    secretFile: secretFile("`cluster.secret`"),
    copies: count(
      3,
      COPIES_MAX,
      "How many nodes should hold each blob; all of them where there are fewer.",
    ),
    durableCopies: key(
      z.int().min(1).max(COPIES_MAX).optional(),
      "How many of the copies have to be on disk before a push is answered 201; with fewer nodes alive it is answered 503.",
      {
        form: `a whole number from 1 to ${COPIES_MAX}, at most \`cluster.copies\``,
        otherwise: "a majority of `cluster.copies`",
      },
    ),
    zone: key(
      z
        .string()
        .transform(lift(text(/^[a-z0-9._-]{1,63}$/i, zoneForm)))
        .optional(),
      "What this node shares its fate with: a rack, a room, a zone. The copies of a blob go to different ones as far as there are.",
      { form: zoneForm, otherwise: "the node is one of its own" },
    ),
    downAfter: duration(
      "10m",
      1000,
      "A node that has been away for so long is taken for lost: the others make the copies that it held.",
    ),
    etcd,
    healing: z
      .strictObject({
        bytesPerSecond: size(
          0,
          0,
          "Most bytes that this node fetches in a second to make up for missing copies; 0 is no limit.",
        ),
      })
      .prefault({}),
  })
  .prefault({});
