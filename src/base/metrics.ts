/**
 * Counters, gauges and histograms in the Prometheus sense, cheap enough for every request: a child is an
 * object whose fields are added to. Snapshots travel between processes and add up.
 */
export type Kind = "counter" | "gauge" | "histogram";

export interface FamilySnapshot {
  readonly name: string;
  readonly help: string;
  readonly kind: Kind;
  /** Upper bounds of a histogram's buckets, ascending, without +Inf. */
  readonly bounds: readonly number[];
  /** Label text such as `route="/v2/",code="200"` → `[value]`, or a histogram's counts (one more than bounds) and sum. */
  readonly samples: Readonly<Record<string, readonly number[]>>;
}

export type Snapshot = readonly FamilySnapshot[];

export interface Counter {
  add(value?: number): void;
}

export interface Gauge {
  set(value: number): void;
  add(value: number): void;
}

export interface Histogram {
  observe(value: number): void;
}

class Value implements Counter, Gauge {
  readonly values: number[] = [0];
  add(value = 1): void {
    this.values[0] = (this.values[0] ?? 0) + value;
  }
  set(value: number): void {
    this.values[0] = value;
  }
}

class Distribution implements Histogram {
  readonly #bounds: readonly number[];
  readonly values: number[];
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.values = Array.from({ length: bounds.length + 2 }, () => 0);
  }
  observe(value: number): void {
    const { values } = this;
    const bounds = this.#bounds;
    let at = 0;
    while (at < bounds.length && value > (bounds[at] ?? 0)) at++;
    values[at] = (values[at] ?? 0) + 1;
    const sum = bounds.length + 1;
    values[sum] = (values[sum] ?? 0) + value;
  }
}

export type Labels = Readonly<Record<string, string>>;

class Family<Child extends { readonly values: readonly number[] }> {
  readonly #children = new Map<string, Child>();
  readonly #make: () => Child;
  constructor(make: () => Child) {
    this.#make = make;
  }

  /** The child of these labels, made on first use. Keep it: looking it up costs more than counting. */
  with(labels: Labels = {}): Child {
    const key = Object.entries(labels)
      .map(([name, value]) => `${name}="${escapeLabel(value)}"`)
      .join(",");
    let child = this.#children.get(key);
    if (!child) this.#children.set(key, (child = this.#make()));
    return child;
  }

  samples(): Record<string, readonly number[]> {
    return Object.fromEntries(
      [...this.#children].map(([key, child]) => [key, [...child.values]] as const),
    );
  }
}

/** The metrics of one process. */
export class Metrics {
  readonly #families: {
    head: Omit<FamilySnapshot, "samples">;
    family: Family<Value | Distribution>;
  }[] = [];
  readonly #refresh: (() => void)[] = [];

  counter(name: string, help: string): { with(labels?: Labels): Counter } {
    return this.#define({ name, help, kind: "counter", bounds: [] }, () => new Value());
  }

  gauge(name: string, help: string): { with(labels?: Labels): Gauge } {
    return this.#define({ name, help, kind: "gauge", bounds: [] }, () => new Value());
  }

  histogram(
    name: string,
    help: string,
    bounds: readonly number[],
  ): { with(labels?: Labels): Histogram } {
    return this.#define({ name, help, kind: "histogram", bounds }, () => new Distribution(bounds));
  }

  /** Calls `refresh` before each snapshot, for gauges that are looked up rather than kept. */
  beforeSnapshot(refresh: () => void): void {
    this.#refresh.push(refresh);
  }

  snapshot(): Snapshot {
    for (const refresh of this.#refresh) refresh();
    return this.#families.map(({ head, family }) => ({ ...head, samples: family.samples() }));
  }

  #define<Child extends Value | Distribution>(
    head: Omit<FamilySnapshot, "samples">,
    make: () => Child,
  ): Family<Child> {
    const family = new Family(make);
    this.#families.push({ head, family });
    return family;
  }
}

/** The sum of snapshots, family by family and label by label. Gauges that must not be summed carry a label that tells them apart. */
export function merge(snapshots: readonly Snapshot[]): Snapshot {
  const families = new Map<
    string,
    FamilySnapshot & { samples: Record<string, readonly number[]> }
  >();
  for (const family of snapshots.flat()) {
    const merged = families.get(family.name);
    if (!merged) {
      families.set(family.name, { ...family, samples: { ...family.samples } });
      continue;
    }
    for (const [labels, values] of Object.entries(family.samples)) {
      const before = merged.samples[labels];
      merged.samples[labels] = before
        ? values.map((value, at) => value + (before[at] ?? 0))
        : values;
    }
  }
  return [...families.values()];
}

/** What must not be forgotten when its process ends: everything that only grows. */
export function cumulative(snapshot: Snapshot): Snapshot {
  return snapshot.filter((family) => family.kind !== "gauge");
}

/** Prometheus text format 0.0.4. */
export function exposition(snapshot: Snapshot): string {
  const lines: string[] = [];
  for (const family of snapshot) {
    lines.push(`# HELP ${family.name} ${family.help}`, `# TYPE ${family.name} ${family.kind}`);
    for (const [labels, values] of Object.entries(family.samples)) {
      if (family.kind === "histogram") lines.push(...buckets(family, labels, values));
      else lines.push(`${family.name}${braced(labels)} ${values[0]}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function buckets(family: FamilySnapshot, labels: string, values: readonly number[]): string[] {
  const lines: string[] = [];
  const prefix = labels === "" ? "" : `${labels},`;
  let count = 0;
  for (let at = 0; at <= family.bounds.length; at++) {
    count += values[at] ?? 0;
    lines.push(`${family.name}_bucket{${prefix}le="${family.bounds[at] ?? "+Inf"}"} ${count}`);
  }
  lines.push(
    `${family.name}_sum${braced(labels)} ${values[family.bounds.length + 1]}`,
    `${family.name}_count${braced(labels)} ${count}`,
  );
  return lines;
}

function braced(labels: string): string {
  return labels === "" ? "" : `{${labels}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
