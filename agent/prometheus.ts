/**
 * How do the metrics read in Prometheus, and in the docs?
 *
 * Renders the tables of metrics.ts as text; declares nothing itself.
 */
import type { Histogram } from "../ffi/engine.ts";
import {
  AGENT_METRICS,
  BACKGROUND_METRICS,
  CRITICAL_METRICS,
  isHistogram,
  type Metric,
  type MetricsView,
  type Reading,
  type Readings,
} from "./metrics.ts";

/** The Prometheus text exposition format, version 0.0.4. */
export function prometheusText(view: MetricsView): string {
  const lines: string[] = [];
  const { snapshot } = view;
  for (const metric of AGENT_METRICS) write(lines, metric, [{ labels: {}, from: view }]);
  for (const metric of CRITICAL_METRICS) {
    write(
      lines,
      metric,
      snapshot.tasks.map((from, id) => ({ labels: { task: view.tasks[id] ?? `${id}` }, from })),
    );
  }
  for (const metric of BACKGROUND_METRICS) {
    write(
      lines,
      metric,
      snapshot.jobs.map((from, id) => ({ labels: { job: view.jobs[id] ?? `${id}` }, from })),
    );
  }
  if (view.store !== undefined) writeTotals(lines, view.store.total);
  return lines.join("\n") + "\n";
}

/** Every counter once more, over all starts: `calypte_lifetime_...`. The counters themselves begin with the process, as is the custom. */
function writeTotals(lines: string[], total: Readonly<Record<string, number>>): void {
  const parts = Object.entries(total).map(([name, value]) => ({ path: name.split("/"), value }));
  const of = <T>(group: string, labelled: string | undefined, metrics: readonly Metric<T>[]) => {
    for (const { name, key, help, kind, labels: own = [], scale = 1 } of metrics) {
      const at = labelled === undefined ? 1 : 2;
      const series = parts.filter(({ path }) => path[0] === group && path[at] === key);
      if (name === undefined || kind !== "counter" || series.length === 0) continue;
      const full = `calypte_lifetime_${name}`;
      lines.push(`# HELP ${full} Since the first start: ${help}`, `# TYPE ${full} counter`);
      for (const { path, value } of series) {
        const labels: Record<string, string> = {};
        if (labelled !== undefined) labels[labelled] = path[1] ?? "";
        for (const [i, label] of own.entries()) labels[label] = path[at + 1 + i] ?? "";
        lines.push(`${full}${formatLabels(labels)} ${value / scale}`);
      }
    }
  };
  of("agent", undefined, AGENT_METRICS);
  of("critical", "task", CRITICAL_METRICS);
  of("background", "job", BACKGROUND_METRICS);
}

/** Tables of all metrics, for docs/METRICS.md. */
export function metricsMarkdown(): string {
  const table = <T>(metrics: readonly Metric<T>[], of: readonly string[]) => [
    "| metric | kind | unit | labels | meaning |",
    "| --- | --- | --- | --- | --- |",
    ...metrics.filter(({ name }) => name !== undefined).map(({ name, unit, kind, help, labels = [] }) =>
      `| \`calypte_${name}\` | ${kind} | ${unit} | ${[...of, ...labels].join(", ")} | ${help} |`
    ),
    "",
  ];
  return [
    ...["## Agent and engine", "", ...table(AGENT_METRICS, [])],
    ...["## Critical tasks", "", ...table(CRITICAL_METRICS, ["task"])],
    ...["## Background jobs", "", ...table(BACKGROUND_METRICS, ["job"])],
  ].join("\n");
}

type Labels = Readonly<Record<string, string>>;

function write<T>(lines: string[], metric: Metric<T>, series: readonly { labels: Labels; from: T }[]): void {
  if (metric.name === undefined) return;
  const name = `calypte_${metric.name}`;
  const scale = metric.scale ?? 1;
  const samples = series.flatMap(({ labels, from }) =>
    samplesOf(name, labels, metric.read(from), metric.labels ?? [], scale)
  );
  // A name without samples is not known here.
  if (samples.length > 0) {
    lines.push(`# HELP ${name} ${metric.help}`, `# TYPE ${name} ${metric.kind}`, ...samples);
  }
}

function samplesOf(
  name: string,
  labels: Labels,
  value: Reading,
  [label = "key", ...rest]: readonly string[],
  scale: number,
): string[] {
  if (value === undefined) return [];
  if (typeof value === "number") return [`${name}${formatLabels(labels)} ${value / scale}`];
  if (isHistogram(value)) return histogramLines(name, labels, value, scale);
  return Object.entries(value as Readings).flatMap(([key, each]) =>
    samplesOf(name, { ...labels, [label]: key }, each, rest, scale)
  );
}

/** Without interpolation: the edges shown, 2^10..2^34 ns (about 1 us to 17 s), are edges of the engine's own buckets. */
function histogramLines(name: string, labels: Labels, histogram: Histogram, scale: number): string[] {
  const lines: string[] = [];
  let below = 0;
  let bucket = 0;
  for (let exponent = 10; exponent <= 34; exponent++) {
    for (const end = 32 * (exponent - 9); bucket < end; bucket++) below += histogram.buckets[bucket] ?? 0;
    lines.push(`${name}_bucket${formatLabels({ ...labels, le: String(2 ** exponent / scale) })} ${below}`);
  }
  lines.push(`${name}_bucket${formatLabels({ ...labels, le: "+Inf" })} ${histogram.count}`);
  lines.push(`${name}_sum${formatLabels(labels)} ${histogram.sumNs / scale}`);
  lines.push(`${name}_count${formatLabels(labels)} ${histogram.count}`);
  return lines;
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
