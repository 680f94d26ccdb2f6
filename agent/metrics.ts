/**
 * What can be measured, and how is it called?
 *
 * Each metric is declared once, in one of the tables below. The numbers of `/v1/status` come from here, the Prometheus text
 * and the table for the docs too (prometheus.ts). Nothing is stored: the engine's snapshot and the counters are the only state.
 */
import { type EngineSnapshot, type Histogram, type JobStats, LEVELS, type TaskStats } from "../ffi/engine.ts";
import { quantileNs } from "../ffi/histogram.ts";
import type { Counters } from "./counters.ts";
import type { Quarantined } from "./store/quarantine.ts";

export type MetricKind = "counter" | "gauge" | "histogram";

export interface Metric<T> {
  /** In Prometheus, behind `calypte_`; base units, as is the custom there. */
  name: string;
  /** In JSON; the unit ends the name. */
  key: string;
  unit: "1" | "seconds" | "bytes";
  kind: MetricKind;
  help: string;
  /** Second label beside the work's name, for a reader that returns a record. */
  label?: string;
  /** In the unit of `key`. */
  read: (from: T) => number | Readonly<Record<string, number>> | Histogram;
  /** How many units of `key` make one of `name`. Default 1. */
  scale?: number;
}

/** What the store (flight_store.ts) shows. */
export interface StoreView {
  dir: string;
  /** Of the agent, this one included. */
  starts: number;
  /** Writes that failed, in this run. */
  errors: number;
  /** Of the black box, in this run. */
  recordsLost: number;
  quarantine: readonly Quarantined[];
  /** Since the first start; names as in metric_counts.ts. */
  total: Readonly<Record<string, number>>;
  /** Units of each job since the first start with the bundle that it has now. */
  progress: Readonly<Record<string, number>>;
}

/** What all metrics are read from. */
export interface MetricsView {
  snapshot: EngineSnapshot;
  counters: Counters;
  /** Names by id. */
  tasks: readonly string[];
  jobs: readonly string[];
  /** Absent: nothing is kept over restarts. */
  store?: StoreView | undefined;
}

const NS = 1e9;

export const CRITICAL_METRICS: readonly Metric<TaskStats>[] = [
  {
    name: "critical_requests_total",
    key: "requests",
    unit: "1",
    kind: "counter",
    help: "Arrivals, in whatever way they ended.",
    read: (task) => task.requests,
  },
  {
    name: "critical_misses_total",
    key: "misses",
    unit: "1",
    kind: "counter",
    label: "why",
    help:
      "Requests that ended after their deadline (late), never ran (dropped) or were lost to a fault (failed).",
    read: (task) => ({ late: task.late, dropped: task.dropped, failed: task.failed }),
  },
  {
    name: "critical_miss_run",
    key: "missRun",
    unit: "1",
    kind: "gauge",
    help: "Misses in a row, now.",
    read: (task) => task.missRun,
  },
  {
    name: "critical_longest_miss_run",
    key: "longestMissRun",
    unit: "1",
    kind: "gauge",
    help: "Longest run of misses so far.",
    read: (task) => task.longestMissRun,
  },
  {
    name: "critical_waiting",
    key: "waiting",
    unit: "1",
    kind: "gauge",
    help: "Requests that wait, now.",
    read: (task) => task.waiting,
  },
  {
    name: "critical_busy_seconds_total",
    key: "busyNs",
    unit: "seconds",
    kind: "counter",
    help: "Launch to completion, summed.",
    scale: NS,
    read: (task) => task.busyNs,
  },
  {
    name: "critical_worst_execution_seconds",
    key: "worstExecutionNs",
    unit: "seconds",
    kind: "gauge",
    help: "Longest time from launch to completion.",
    scale: NS,
    read: (task) => task.worstExecutionNs,
  },
  {
    name: "critical_margin_seconds",
    key: "marginNs",
    unit: "seconds",
    kind: "gauge",
    help: "The gate closes this long ahead of an expected request; 0: it does not.",
    scale: NS,
    read: (task) => task.marginNs,
  },
  {
    name: "critical_anticipated_total",
    key: "anticipated",
    unit: "1",
    kind: "counter",
    help: "Requests that found the gate closed for them.",
    read: (task) => task.anticipated,
  },
  {
    name: "critical_wrong_guesses_total",
    key: "wrongGuesses",
    unit: "1",
    kind: "counter",
    help: "Closings ahead that no request followed in time.",
    read: (task) => task.wrongGuesses,
  },
  {
    name: "critical_ahead_seconds_total",
    key: "aheadNs",
    unit: "seconds",
    kind: "counter",
    help: "Time for which the gate was closed ahead of requests.",
    scale: NS,
    read: (task) => task.aheadNs,
  },
  {
    name: "critical_deferred_total",
    key: "deferred",
    unit: "1",
    kind: "counter",
    help: "Requests that let background come to an end first.",
    read: (task) => task.deferred,
  },
  {
    name: "critical_deferred_seconds_total",
    key: "deferredNs",
    unit: "seconds",
    kind: "counter",
    help: "Time for which requests were deferred.",
    scale: NS,
    read: (task) => task.deferredNs,
  },
  {
    name: "critical_response_seconds",
    key: "response",
    unit: "seconds",
    kind: "histogram",
    help: "Arrival to completion, of requests that completed.",
    scale: NS,
    read: (task) => task.response,
  },
];

export const BACKGROUND_METRICS: readonly Metric<JobStats>[] = [
  {
    name: "background_units_total",
    key: "units",
    unit: "1",
    kind: "counter",
    help: "Units completed.",
    read: (job) => job.units,
  },
  {
    name: "background_ready_units",
    key: "readyUnits",
    unit: "1",
    kind: "gauge",
    help: "Units whose input is staged and that are not completed.",
    read: (job) => job.readyUnits,
  },
  {
    name: "background_preemptions_total",
    key: "preemptions",
    unit: "1",
    kind: "counter",
    help: "Entries in which the gate made a worker leave.",
    read: (job) => job.preemptions,
  },
  {
    name: "background_abandoned_total",
    key: "abandoned",
    unit: "1",
    kind: "counter",
    help: "Blocks left half-way and begun again.",
    read: (job) => job.abandoned,
  },
  {
    name: "background_drain_p99_seconds",
    key: "drainP99Ns",
    unit: "seconds",
    kind: "gauge",
    help: "From closing the gate to the end of what ran; 0: not yet seen.",
    scale: NS,
    read: (job) => job.drainP99Ns,
  },
  {
    name: "background_leaves_total",
    key: "leaves",
    unit: "1",
    kind: "counter",
    help: "Workers that left with work undone, counted on the device.",
    read: (job) => job.leaves,
  },
  {
    name: "background_gpu_seconds_total",
    key: "gpuNs",
    unit: "seconds",
    kind: "counter",
    label: "level",
    help: "GPU time by level of preemptibility.",
    scale: NS,
    read: (job) => Object.fromEntries(LEVELS.map((level) => [level, job.gpuNs[level]])),
  },
  {
    name: "background_unit_seconds",
    key: "unitNs",
    unit: "seconds",
    kind: "gauge",
    help: "Latest estimate of a unit's GPU time.",
    scale: NS,
    read: (job) => job.unitNs,
  },
];

/** Of the engine as a whole. */
export const ENGINE_METRICS: readonly Metric<Pick<MetricsView, "snapshot">>[] = [
  {
    name: "ready",
    key: "ready",
    unit: "1",
    kind: "gauge",
    help: "1: critical tasks receive requests.",
    read: ({ snapshot }) => snapshot.state === "ready" ? 1 : 0,
  },
  {
    name: "uptime_seconds",
    key: "uptimeNs",
    unit: "seconds",
    kind: "gauge",
    help: "Since the engine became ready.",
    scale: NS,
    read: ({ snapshot }) => snapshot.state === "loading" ? 0 : snapshot.nowNs - snapshot.readyNs,
  },
  {
    name: "lease_remaining_seconds",
    key: "leaseRemainingNs",
    unit: "seconds",
    kind: "gauge",
    help: "Until background stops, unless a new plan comes.",
    scale: NS,
    read: ({ snapshot }) => Math.max(0, snapshot.leaseEndNs - snapshot.nowNs),
  },
  {
    name: "lease_expired_total",
    key: "leaseExpired",
    unit: "1",
    kind: "counter",
    help: "Leases that ended without a new plan.",
    read: ({ snapshot }) => snapshot.leaseExpired,
  },
  {
    name: "safe_mode_total",
    key: "safeMode",
    unit: "1",
    kind: "counter",
    help: "How often safe mode was entered.",
    read: ({ snapshot }) => snapshot.safeMode,
  },
  {
    name: "safe_mode",
    key: "safeModeOn",
    unit: "1",
    kind: "gauge",
    help: "1: safe mode stands, and no background runs.",
    read: ({ snapshot }) => snapshot.safeModeReasons.length > 0 ? 1 : 0,
  },
  {
    name: "safe_mode_reasons",
    key: "safeModeReasons",
    unit: "1",
    kind: "gauge",
    label: "reason",
    help: "1: safe mode stands for this reason.",
    read: ({ snapshot: { safeModeReasons: standing } }) => ({
      misses: standing.includes("misses") ? 1 : 0,
      caller: standing.includes("caller") ? 1 : 0,
      planner: standing.includes("planner") ? 1 : 0,
    }),
  },
  {
    name: "safe_mode_seconds_total",
    key: "safeModeNs",
    unit: "seconds",
    kind: "counter",
    help: "Time in safe mode.",
    scale: NS,
    read: ({ snapshot }) => snapshot.safeModeNs,
  },
  {
    name: "held",
    key: "held",
    unit: "1",
    kind: "gauge",
    help: "1: background is held, whatever the reason.",
    read: ({ snapshot }) => snapshot.holds.length > 0 ? 1 : 0,
  },
  {
    name: "gpu_busy_seconds_total",
    key: "gpuBusyNs",
    unit: "seconds",
    kind: "counter",
    label: "kind",
    help: "GPU time by kind of work.",
    scale: NS,
    read: ({ snapshot }) => ({
      critical: snapshot.criticalBusyNs,
      background: snapshot.backgroundBusyNs,
    }),
  },
  {
    name: "dispatcher_worst_seconds",
    key: "dispatcherWorstNs",
    unit: "seconds",
    kind: "gauge",
    help: "Longest step of the scheduler.",
    scale: NS,
    read: ({ snapshot }) => snapshot.dispatcherWorstNs,
  },
];

/** What the agent counts itself. */
export const AGENT_COUNTERS: readonly Metric<Pick<MetricsView, "counters">>[] = [
  {
    name: "events_total",
    key: "events",
    unit: "1",
    kind: "counter",
    label: "event",
    help: "Events of the engine.",
    read: ({ counters }) => counters.events,
  },
  {
    name: "plans_total",
    key: "plansSet",
    unit: "1",
    kind: "counter",
    help: "Plans put in force.",
    read: ({ counters }) => counters.plansSet,
  },
  {
    name: "policy_faults_total",
    key: "policyFaults",
    unit: "1",
    kind: "counter",
    help: "Times that the policy threw or answered nonsense, so that no plan was set.",
    read: ({ counters }) => counters.policyFaults,
  },
  {
    name: "results_total",
    key: "resultsTaken",
    unit: "1",
    kind: "counter",
    help: "Results taken from the engine.",
    read: ({ counters }) => counters.resultsTaken,
  },
  {
    name: "results_lost_total",
    key: "resultsLost",
    unit: "1",
    kind: "counter",
    help: "Results that never reached their file.",
    read: ({ counters }) => counters.resultsLost,
  },
  {
    name: "sink_errors_total",
    key: "sinkErrors",
    unit: "1",
    kind: "counter",
    help: "Writes that failed.",
    read: ({ counters }) => counters.sinkErrors,
  },
  {
    name: "outputs_skipped_total",
    key: "outputsSkipped",
    unit: "1",
    kind: "counter",
    help: "Simulated results whose output was not computed by the bundle's CPU reference.",
    read: ({ counters }) => counters.outputsSkipped,
  },
  {
    name: "engine_errors_total",
    key: "engineErrors",
    unit: "1",
    kind: "counter",
    help: "Calls of the engine that failed while it ran.",
    read: ({ counters }) => counters.engineErrors,
  },
];

/** All 0 where nothing is kept over restarts. */
const STORE_METRICS: readonly Metric<Pick<MetricsView, "store">>[] = [
  {
    name: "starts_total",
    key: "starts",
    unit: "1",
    kind: "counter",
    help: "Starts of the agent on this state folder.",
    read: ({ store }) => store?.starts ?? 0,
  },
  {
    name: "background_quarantined",
    key: "quarantined",
    unit: "1",
    kind: "gauge",
    label: "job",
    help: "1: the job is in quarantine and does not run.",
    read: ({ store }) => Object.fromEntries((store?.quarantine ?? []).map(({ job }) => [job, 1])),
  },
  {
    name: "state_errors_total",
    key: "stateErrors",
    unit: "1",
    kind: "counter",
    help: "Writes of state that failed.",
    read: ({ store }) => store?.errors ?? 0,
  },
  {
    name: "black_box_lost_total",
    key: "blackBoxLost",
    unit: "1",
    kind: "counter",
    help: "Records of the black box that were dropped because they could not be written.",
    read: ({ store }) => store?.recordsLost ?? 0,
  },
];

export const AGENT_METRICS: readonly Metric<MetricsView>[] = [
  ...ENGINE_METRICS,
  ...AGENT_COUNTERS,
  ...STORE_METRICS,
];

/** The numbers of one table as plain data, keyed for JSON; a histogram becomes its quantiles in microseconds. */
export function readAll<T>(metrics: readonly Metric<T>[], from: T): Record<string, unknown> {
  return Object.fromEntries(metrics.map(({ key, read }) => {
    const value = read(from);
    return [key, isHistogram(value) ? responseUs(value) : value];
  }));
}

export interface ResponseUs {
  p50Us: number;
  p99Us: number;
  p999Us: number;
  maxUs: number;
}

/** Quantiles of a histogram, in microseconds with one decimal; all 0 if it is empty. */
export function responseUs(histogram: Histogram): ResponseUs {
  const us = (ns: number) => Math.round(ns / 100) / 10;
  const at = (q: number) => histogram.count === 0 ? 0 : us(quantileNs(histogram, q));
  return {
    p50Us: at(0.5),
    p99Us: at(0.99),
    p999Us: at(0.999),
    maxUs: histogram.count === 0 ? 0 : us(histogram.maxNs),
  };
}

export function isHistogram(value: number | object): value is Histogram {
  return typeof value === "object" && "buckets" in value;
}
