/** What `npm test` runs. */
import { join } from "node:path";

export interface Suite {
  readonly name: string;
  readonly paths: readonly string[];
  /** Seconds that one test may take. */
  readonly patience: number;
  /** Real clients or peers are needed, or a machine that builds none of them meanwhile. */
  readonly clients?: true;
  /** The engines that tests which run on any are run on; default solo. */
  readonly stores?: "postgres" | "etcd" | "cluster";
  /** Files that run side by side, for suites that wait more than they work; default 1. */
  readonly lanes?: number;
}

/** The protocol without what concerns the sockets of one process, which are the same in every shape. */
const PROTOCOL = [
  ...new Bun.Glob("test/protocol/*.test.ts").scanSync({ cwd: join(import.meta.dir, "..") }),
]
  .filter((path) => !path.includes("/socket-"))
  .map((path) => `./${path}`)
  .sort();
const ON_SHARED = [...PROTOCOL, "./test/conformance/conformance.test.ts"];
export const SUITES: readonly Suite[] = [
  {
    name: "unit",
    paths: [
      "./src",
      "./scripts",
      "./bench",
      "./test/architecture.test.ts",
      "./test/deploy.test.ts",
    ],
    patience: 60,
    lanes: 3,
  },
  { name: "protocol", paths: ["./test/protocol"], patience: 60, lanes: 2 },
  { name: "conformance", paths: ["./test/conformance"], patience: 120 },
  { name: "protocol-postgres", paths: ON_SHARED, patience: 60, stores: "postgres" },
  { name: "protocol-etcd", paths: ON_SHARED, patience: 60, stores: "etcd" },
  { name: "shared", paths: ["./test/shared"], patience: 600, clients: true, lanes: 2 },
  { name: "faults", paths: ["./test/faults"], patience: 900, clients: true, lanes: 2 },
  {
    name: "engines",
    paths: ["./test/engines", "./test/support"],
    patience: 300,
    clients: true,
    lanes: 2,
  },
  { name: "ceph", paths: ["./test/ceph"], patience: 120, clients: true },
  { name: "adoption", paths: ["./test/adoption"], patience: 300, clients: true, lanes: 2 },
  { name: "clients", paths: ["./test/clients"], patience: 600, clients: true },
  {
    name: "clients-shared",
    paths: ["./test/clients"],
    patience: 600,
    clients: true,
    stores: "postgres",
  },
  { name: "cluster", paths: ["./test/cluster"], patience: 900, clients: true, lanes: 2 },
  {
    name: "conformance-cluster",
    paths: ["./test/conformance/conformance.test.ts"],
    patience: 600,
    clients: true,
    stores: "cluster",
  },
];
