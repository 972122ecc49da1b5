import { expect, test } from "bun:test";
import { etcdArguments, etcdEnvironment, type EtcdOptions } from "./flags.ts";

const options: EtcdOptions = {
  name: "n2",
  data: "/data/etcd",
  clusterId: "c0ffee",
  state: "existing",
  members: { n1: "10.0.0.1:5081", n2: "10.0.0.2:5081" },
  peer: { listen: "0.0.0.0:5081", advertise: "10.0.0.2:5081" },
  client: { listen: "[::]:5082", advertise: "node2.example:5082" },
  tls: { ca: "/tls/ca.pem", cert: "/tls/cert.pem", key: "/tls/key.pem" },
};

test("a member is told who it is, who the others are, and to trust nobody else", () => {
  const told = etcdArguments(options, "3.4.23");
  for (const flag of [
    "--name=n2",
    "--data-dir=/data/etcd",
    "--initial-cluster=n1=https://10.0.0.1:5081,n2=https://10.0.0.2:5081",
    "--initial-cluster-state=existing",
    "--initial-cluster-token=c0ffee",
    "--listen-peer-urls=https://0.0.0.0:5081",
    "--initial-advertise-peer-urls=https://10.0.0.2:5081",
    "--listen-client-urls=https://[::]:5082",
    "--advertise-client-urls=https://node2.example:5082",
    "--peer-client-cert-auth",
    "--trusted-ca-file=/tls/ca.pem",
    "--max-request-bytes=8388608",
    "--max-txn-ops=1024",
    "--quota-backend-bytes=8589934592",
    "--heartbeat-interval=100",
    "--election-timeout=1000",
  ])
    expect(told).toContain(flag);
  expect(told.filter((flag) => flag.includes("http://"))).toEqual([]);
});

test("times are as configured", () => {
  const told = etcdArguments({ ...options, heartbeatMs: 50, electionMs: 400 }, "3.5.21");
  expect(told).toContain("--heartbeat-interval=50");
  expect(told).toContain("--election-timeout=400");
});

test("each release is told by its own name to leave the callers' addresses alone", () => {
  const named = (version: string) =>
    etcdArguments(options, version).filter((flag) => flag.includes("skip-client-san"));
  expect(named("3.4.23")).toEqual(["--experimental-peer-skip-client-san-verification"]);
  expect(named("3.5.21")).toEqual(["--experimental-peer-skip-client-san-verification"]);
  expect(named("3.6.0")).toEqual(["--peer-skip-client-san-verification"]);
});

test("the environment is little, without secrets, proxies and contradictions", () => {
  const own = {
    PATH: "/bin",
    GOMEMLIMIT: "1GiB",
    HOLDFAST_CLUSTER_SECRET: "secret",
    HTTPS_PROXY: "http://proxy",
    ETCD_NAME: "other",
    GONE: undefined,
  };
  expect(etcdEnvironment(own, "x64")).toEqual({ PATH: "/bin", GOMEMLIMIT: "1GiB" });
  expect(etcdEnvironment({}, "arm64")).toEqual({ ETCD_UNSUPPORTED_ARCH: "arm64" });
});
