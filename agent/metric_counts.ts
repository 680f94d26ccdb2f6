/** Which of the metrics are counts, as flat names: what is summed up over starts (store/lifetime.ts). */
import type { EngineSnapshot } from "../ffi/engine.ts";
import type { WorkNames } from "./box_entries.ts";
import type { Counters } from "./counters.ts";
import {
  AGENT_COUNTERS,
  BACKGROUND_METRICS,
  CRITICAL_METRICS,
  ENGINE_METRICS,
  isHistogram,
  type Metric,
  type Reading,
} from "./metrics.ts";

/** `agent/KEY` or `agent/KEY/LABEL`, in the unit of the key. */
export function agentCounts(counters: Counters): Record<string, number> {
  const counts: Record<string, number> = {};
  add(counts, "agent", AGENT_COUNTERS, { counters });
  return counts;
}

/** `agent/KEY`, `critical/NAME/KEY`, `background/NAME/KEY`, each perhaps with `/LABEL`. */
export function engineCounts(snapshot: EngineSnapshot, names: WorkNames): Record<string, number> {
  const counts: Record<string, number> = {};
  add(counts, "agent", ENGINE_METRICS, { snapshot });
  for (const [id, task] of snapshot.tasks.entries()) {
    add(counts, `critical/${names.tasks[id] ?? id}`, CRITICAL_METRICS, task);
  }
  for (const [id, job] of snapshot.jobs.entries()) {
    add(counts, `background/${names.jobs[id] ?? id}`, BACKGROUND_METRICS, job);
  }
  return counts;
}

/** The flat names as nested maps, for JSON. */
export function nested(counts: Readonly<Record<string, number>>): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  for (const [name, count] of Object.entries(counts)) {
    const parts = name.split("/");
    let at = root;
    for (const part of parts.slice(0, -1)) at = (at[part] ??= {}) as Record<string, unknown>;
    at[parts.at(-1)!] = count;
  }
  return root;
}

function add<T>(
  counts: Record<string, number>,
  prefix: string,
  metrics: readonly Metric<T>[],
  from: T,
): void {
  for (const { key, kind, read } of metrics) {
    if (kind !== "counter") continue;
    addReading(counts, `${prefix}/${key}`, read(from));
  }
}

function addReading(counts: Record<string, number>, name: string, value: Reading): void {
  if (value === undefined || isHistogram(value)) return;
  if (typeof value === "number") counts[name] = value;
  else for (const [label, each] of Object.entries(value)) addReading(counts, `${name}/${label}`, each);
}
