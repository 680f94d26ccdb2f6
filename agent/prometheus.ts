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
    for (const { name, key, help, kind, label, scale = 1 } of metrics) {
      const at = labelled === undefined ? 1 : 2;
      const series = parts.filter(({ path }) => path[0] === group && path[at] === key);
      if (kind !== "counter" || series.length === 0) continue;
      const full = `calypte_lifetime_${name}`;
      lines.push(`# HELP ${full} Since the first start: ${help}`, `# TYPE ${full} counter`);
      for (const { path, value } of series) {
        const labels: Record<string, string> = {};
        if (labelled !== undefined) labels[labelled] = path[1] ?? "";
        if (path[at + 1] !== undefined) labels[label ?? "key"] = path[at + 1]!;
        lines.push(`${full}${formatLabels(labels)} ${value / scale}`);
      }
    }
  };
  of("agent", undefined, AGENT_METRICS);
  of("critical", "task", CRITICAL_METRICS);
  of("background", "job", BACKGROUND_METRICS);
}

/** A Markdown table of all metrics, for the docs. */
export function metricsMarkdown(): string {
  const row = (labels: string) => <T>({ name, unit, kind, help, label }: Metric<T>) =>
    `| \`calypte_${name}\` | ${kind} | ${unit} | ${
      [labels, label ?? ""].filter(Boolean).join(", ")
    } | ${help} |`;
  return [
    "| metric | kind | unit | labels | meaning |",
    "|---|---|---|---|---|",
    ...AGENT_METRICS.map(row("")),
    ...CRITICAL_METRICS.map(row("task")),
    ...BACKGROUND_METRICS.map(row("job")),
  ].join("\n") + "\n";
}

type Labels = Readonly<Record<string, string>>;

function write<T>(lines: string[], metric: Metric<T>, series: readonly { labels: Labels; from: T }[]): void {
  const name = `calypte_${metric.name}`;
  const scale = metric.scale ?? 1;
  lines.push(`# HELP ${name} ${metric.help}`, `# TYPE ${name} ${metric.kind}`);
  for (const { labels, from } of series) {
    const value = metric.read(from);
    if (isHistogram(value)) lines.push(...histogramLines(name, labels, value, scale));
    else if (typeof value === "number") lines.push(`${name}${formatLabels(labels)} ${value / scale}`);
    else {
      for (const [key, each] of Object.entries(value)) {
        lines.push(`${name}${formatLabels({ ...labels, [metric.label ?? "key"]: key })} ${each / scale}`);
      }
    }
  }
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
