/** What the edge counts about requests and uploads. */
import type { Counter, Gauge, Histogram, Metrics } from "../base/metrics.ts";

export interface RequestMeasure {
  /** Route template, one of a closed set: never a name that a client chose. */
  readonly route: string;
  readonly method: string;
  readonly status: number;
  readonly seconds: number;
  /** Bytes of the request's and of the response's body. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

const SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60,
];
const BYTES = [256, 1024, 4096, 16_384, 65_536, 1 << 20, 1 << 24, 1 << 28, 2 ** 30, 2 ** 32];
/** Any other method shares one label, so that a client cannot make new series. */
const METHODS: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
]);

interface Series {
  readonly codes: Map<number, Counter>;
  readonly seconds: Histogram;
  readonly bytesIn: Histogram;
  readonly bytesOut: Histogram;
}

export class HttpMetrics {
  readonly #series = new Map<string, Map<string, Series>>();
  readonly #make: (route: string, method: string) => Series;
  readonly #count: (route: string, method: string, code: number) => Counter;
  readonly #inFlight: Gauge;
  readonly #uploads: Gauge;
  readonly #uploaded: Counter;

  constructor(metrics: Metrics) {
    const total = metrics.counter("holdfast_http_requests_total", "Requests answered.");
    const seconds = metrics.histogram(
      "holdfast_http_request_seconds",
      "Time from the head of a request to the answer; for uploads the body's time included, for downloads not.",
      SECONDS,
    );
    const bytesIn = metrics.histogram("holdfast_http_request_bytes", "Body bytes received.", BYTES);
    const bytesOut = metrics.histogram(
      "holdfast_http_response_bytes",
      "Body bytes answered.",
      BYTES,
    );
    this.#make = (route, method) => ({
      codes: new Map(),
      seconds: seconds.with({ route, method }),
      bytesIn: bytesIn.with({ route }),
      bytesOut: bytesOut.with({ route }),
    });
    this.#count = (route, method, code) => total.with({ route, method, code: String(code) });
    this.#inFlight = metrics.gauge("holdfast_http_in_flight", "Requests being handled.").with();
    this.#uploads = metrics
      .gauge("holdfast_uploads_active", "Request bodies being received.")
      .with();
    this.#uploaded = metrics
      .counter("holdfast_uploads_bytes_total", "Blob bytes received, of uploads that failed too.")
      .with();
  }

  /** A request begins to be handled; exactly one `end` follows. */
  begin(): void {
    this.#inFlight.add(1);
  }

  end(request: RequestMeasure): void {
    this.#inFlight.add(-1);
    const { route, status } = request;
    const method = METHODS.has(request.method) ? request.method : "other";
    const series = this.#find(route, method);
    let code = series.codes.get(status);
    if (!code) series.codes.set(status, (code = this.#count(route, method, status)));
    code.add();
    series.seconds.observe(request.seconds);
    series.bytesIn.observe(request.bytesIn);
    series.bytesOut.observe(request.bytesOut);
  }

  /** An upload's body begins to arrive; exactly one `uploadEnd` follows. */
  uploadBegin(): void {
    this.#uploads.add(1);
  }

  uploadEnd(bytes: number): void {
    this.#uploads.add(-1);
    this.#uploaded.add(bytes);
  }

  #find(route: string, method: string): Series {
    let methods = this.#series.get(route);
    if (!methods) this.#series.set(route, (methods = new Map()));
    let series = methods.get(method);
    if (!series) methods.set(method, (series = this.#make(route, method)));
    return series;
  }
}
