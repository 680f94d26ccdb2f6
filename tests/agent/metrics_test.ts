import { assert, assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";
import { createCounters, EVENT_KINDS } from "../../agent/counters.ts";
import {
  AGENT_METRICS,
  BACKGROUND_METRICS,
  CRITICAL_METRICS,
  type MetricsView,
  readAll,
  responseUs,
} from "../../agent/metrics.ts";
import { metricsMarkdown, prometheusText } from "../../agent/prometheus.ts";
import { bucketIndex, emptyHistogram } from "../../ffi/histogram.ts";
import type { Histogram } from "../../ffi/engine.ts";
import { jobStats, snapshotOf, taskStats } from "./fake_engine.ts";

function histogramOf(...durationsNs: number[]): Histogram {
  const histogram = emptyHistogram();
  for (const ns of durationsNs) histogram.buckets[bucketIndex(ns)]!++;
  return {
    ...histogram,
    count: durationsNs.length,
    sumNs: durationsNs.reduce((a, b) => a + b, 0),
    minNs: Math.min(...durationsNs),
    maxNs: Math.max(...durationsNs),
  };
}

function view(): MetricsView {
  return {
    snapshot: snapshotOf({
      nowNs: 5e9,
      readyNs: 2e9,
      leaseEndNs: 5.25e9,
      tasks: [taskStats({ requests: 4, late: 1, response: histogramOf(500, 2_000, 3_000_000) })],
      jobs: [jobStats({ units: 3, gpuNs: { whole: 0, slice: 0, block: 1.5e9, loop: 0 } })],
    }),
    counters: { ...createCounters(), plansSet: 9 },
    tasks: ["detector"],
    jobs: ['map "one"\n\\'],
  };
}

const ALL = [...AGENT_METRICS, ...CRITICAL_METRICS, ...BACKGROUND_METRICS];

Deno.test("each metric is declared once, with a name in Prometheus' style and a sentence of help", () => {
  assertEquals(new Set(ALL.map(({ name }) => name)).size, ALL.length);
  for (const metrics of [AGENT_METRICS, CRITICAL_METRICS, BACKGROUND_METRICS]) {
    assertEquals(new Set(metrics.map(({ key }) => key)).size, metrics.length);
  }
  for (const { name, kind, unit, help } of ALL) {
    assertMatch(name, /^[a-z][a-z0-9_]*$/);
    assertEquals(name.endsWith("_total"), kind === "counter", name);
    assertEquals(/_seconds(_total)?$/.test(name), unit === "seconds", name);
    assertMatch(help, /^[A-Z0-9].*\.$/);
  }
});

Deno.test("the Prometheus text has help, type and base units for every metric", () => {
  const text = prometheusText(view());
  for (const { name, kind } of ALL) assertStringIncludes(text, `# TYPE calypte_${name} ${kind}\n`);
  assertStringIncludes(text, 'calypte_critical_requests_total{task="detector"} 4\n');
  assertStringIncludes(text, 'calypte_critical_misses_total{task="detector",why="late"} 1\n');
  assertStringIncludes(text, "calypte_uptime_seconds 3\n");
  assertStringIncludes(text, "calypte_lease_remaining_seconds 0.25\n");
  assertStringIncludes(text, "calypte_plans_total 9\n");
});

Deno.test("label values are escaped", () => {
  assertStringIncludes(
    prometheusText(view()),
    'calypte_background_gpu_seconds_total{job="map \\"one\\"\\n\\\\",level="block"} 1.5\n',
  );
});

Deno.test("every line of the Prometheus text is a comment or a sample", () => {
  for (const line of prometheusText(view()).trimEnd().split("\n")) {
    assertMatch(line, /^(# (HELP|TYPE) calypte_\w+ .+|calypte_\w+(\{.*\})? [-+0-9.e]+)$/);
  }
});

Deno.test("a histogram is cumulative, ends with all of them, and carries sum and count", () => {
  const lines = prometheusText(view()).split("\n").filter((line) =>
    line.startsWith("calypte_critical_response_seconds")
  );
  const counts = lines.filter((line) => line.includes("_bucket")).map((line) =>
    Number(line.split(" ").at(-1))
  );
  assertEquals(counts, counts.toSorted((a, b) => a - b));
  const at = (le: string) => Number(lines.find((line) => line.includes(`le="${le}"`))?.split(" ").at(-1));
  assertEquals(at("0.000001024"), 1);
  assertEquals(at("0.000002048"), 2);
  assertEquals(at("0.002097152"), 2);
  assertEquals(at("0.004194304"), 3);
  assertEquals(at("+Inf"), 3);
  assert(lines.includes('calypte_critical_response_seconds_sum{task="detector"} 0.0030025'));
  assert(lines.includes('calypte_critical_response_seconds_count{task="detector"} 3'));
});

Deno.test("JSON has the same numbers in the unit that the key names", () => {
  const { snapshot } = view();
  const task = readAll(CRITICAL_METRICS, snapshot.tasks[0]!);
  assertEquals(task.requests, 4);
  assertEquals(task.misses, { late: 1, dropped: 0, failed: 0 });
  assertEquals(task.response, { p50Us: 2, p99Us: 3000, p999Us: 3000, maxUs: 3000 });
  assertEquals(readAll(BACKGROUND_METRICS, snapshot.jobs[0]!).units, 3);
});

Deno.test("an empty histogram has quantiles of 0", () => {
  assertEquals(responseUs(emptyHistogram()), { p50Us: 0, p99Us: 0, p999Us: 0, maxUs: 0 });
});

Deno.test("all kinds of event are counted from 0", () => {
  assertEquals(Object.keys(createCounters().events), [...EVENT_KINDS]);
});

Deno.test("the table for the docs has one row for each metric", () => {
  const rows = metricsMarkdown().trimEnd().split("\n");
  assertEquals(rows.length, ALL.length + 2);
  for (const row of rows) assertEquals(row.split("|").length, 7, row);
});
