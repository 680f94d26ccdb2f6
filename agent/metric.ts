/**
 * What is a metric, and what is it read from?
 *
 * The tables are in metrics_work.ts and metrics_agent.ts. The numbers of `/v1/status` come from them, the Prometheus text and
 * docs/METRICS.md too (prometheus.ts). Nothing is stored: the engine's snapshot and the counters are the only state.
 */
import type { EngineSnapshot, Histogram } from "../ffi/engine.ts";
import { quantileNs } from "../ffi/histogram.ts";
import type { Counters } from "./counters.ts";
import type { Quarantined } from "./store/quarantine.ts";

export type MetricKind = "counter" | "gauge" | "histogram" | "summary";

/** By label; nested by the second label where there are two. `undefined`: not known, and not shown. */
export type Reading = number | undefined | Readings | Histogram;
export interface Readings {
  readonly [label: string]: number | Readings;
}

export interface Metric<T> {
  /** In Prometheus, behind `calypte_`; base units, as is the custom there. Absent: in JSON only. */
  name?: string;
  /** In JSON; the unit ends the name. */
  key: string;
  unit: "1" | "seconds" | "bytes" | "watts" | "celsius";
  kind: MetricKind;
  help: string;
  /** Further labels beside the work's name, for a reader that returns a record: one for each level of it. */
  labels?: readonly string[];
  /** In the unit of `key`. */
  read: (from: T) => Reading;
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
  /** What sensors say; missing means unknown. */
  readings?: { powerWatts?: number | undefined; temperatureCelsius?: number | undefined } | undefined;
  /** Of the agent. */
  version?: string | undefined;
}

/** Nanoseconds in a second. */
export const NS = 1e9;

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

export function isHistogram(value: Reading): value is Histogram {
  return typeof value === "object" && value.buckets instanceof Uint32Array;
}
