import { expect, test } from "bun:test";
import { HttpMetrics } from "../http/metrics.ts";
import { Metrics, cumulative, exposition, merge } from "./metrics.ts";

function worker(observed: readonly number[], gauge: number): Metrics {
  const metrics = new Metrics();
  const histogram = metrics.histogram("t_seconds", "Time.", [1, 2]).with({ route: "/" });
  for (const value of observed) histogram.observe(value);
  metrics.gauge("t_now", "Now.").with().set(gauge);
  return metrics;
}

test("exposition is the Prometheus text format, histograms cumulative", () => {
  const metrics = worker([0.5, 1, 1.5, 9], 3);
  metrics.counter("t_total", "Things.").with({ name: 'a"b\\c\nd' }).add(2);
  expect(exposition(metrics.snapshot())).toBe(
    [
      "# HELP t_seconds Time.",
      "# TYPE t_seconds histogram",
      't_seconds_bucket{route="/",le="1"} 2',
      't_seconds_bucket{route="/",le="2"} 3',
      't_seconds_bucket{route="/",le="+Inf"} 4',
      't_seconds_sum{route="/"} 12',
      't_seconds_count{route="/"} 4',
      "# HELP t_now Now.",
      "# TYPE t_now gauge",
      "t_now 3",
      "# HELP t_total Things.",
      "# TYPE t_total counter",
      't_total{name="a\\"b\\\\c\\nd"} 2',
      "",
    ].join("\n"),
  );
});

test("snapshots add up and are left as they were", () => {
  const [a, b] = [worker([0.5], 1).snapshot(), worker([0.5, 5], 2).snapshot()];
  const before = structuredClone([a, b]);
  const merged = merge([a, b]);
  expect(merged.map((family) => family.samples)).toEqual([
    { 'route="/"': [2, 0, 1, 6] },
    { "": [3] },
  ]);
  expect([a, b]).toEqual(before);
});

test("what a past worker counted stays, what it was does not", () => {
  expect(cumulative(worker([1], 7).snapshot()).map((family) => family.name)).toEqual(["t_seconds"]);
});

test("a snapshot survives the way between processes", () => {
  const snapshot = worker([1], 7).snapshot();
  expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot);
});

test("requests are counted by route, method and code; unknown methods share a label", () => {
  const metrics = new Metrics();
  const http = new HttpMetrics(metrics);
  const request = { route: "/v2/", status: 200, seconds: 0.001, bytesIn: 0, bytesOut: 2 };
  for (const method of ["GET", "GET", "BREW", "STIR"]) {
    http.begin();
    http.end({ ...request, method });
  }
  http.begin();
  http.uploadBegin();
  http.uploadEnd(100);
  const text = exposition(metrics.snapshot());
  expect(text).toContain('holdfast_http_requests_total{route="/v2/",method="GET",code="200"} 2\n');
  expect(text).toContain(
    'holdfast_http_requests_total{route="/v2/",method="other",code="200"} 2\n',
  );
  expect(text).toContain('holdfast_http_response_bytes_count{route="/v2/"} 4\n');
  expect(text).toContain("holdfast_http_in_flight 1\n");
  expect(text).toContain("\nholdfast_uploads_active 0\n");
  expect(text).toContain("\nholdfast_uploads_bytes_total 100\n");
});
