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
      tasks: [taskStats({ requests: 4, onTime: 3, late: 1, response: histogramOf(500, 2_000, 3_000_000) })],
      jobs: [jobStats({ units: 3, gpuNs: { whole: 0, slice: 0, block: 1.5e9, loop: 0 } })],
    }),
    counters: { ...createCounters(), plansSet: 9 },
    tasks: ["detector"],
    jobs: ['map "one"\n\\'],
    readings: { powerWatts: 12.5 },
    version: "1.2.3",
  };
}

const ALL = [...AGENT_METRICS, ...CRITICAL_METRICS, ...BACKGROUND_METRICS];
const SHOWN = ALL.flatMap(({ name, ...rest }) => name === undefined ? [] : [{ name, ...rest }]);

Deno.test("each metric is declared once, with a name in Prometheus' style and a sentence of help", () => {
  assertEquals(new Set(SHOWN.map(({ name }) => name)).size, SHOWN.length);
  for (const metrics of [AGENT_METRICS, CRITICAL_METRICS, BACKGROUND_METRICS]) {
    assertEquals(new Set(metrics.map(({ key }) => key)).size, metrics.length);
  }
  for (const { name, kind, unit, help } of SHOWN) {
    assertMatch(name, /^[a-z][a-z0-9_]*$/);
    assertEquals(name.endsWith("_total"), kind === "counter", name);
    assertEquals(/_seconds(_total)?$/.test(name), unit === "seconds", name);
    assertMatch(help, /^[A-Z0-9].*\.$/);
  }
});

Deno.test("the Prometheus text has help, type and base units for every metric", () => {
  const text = prometheusText(view());
  const absent = ["temperature_celsius", "background_quarantined"];
  for (const { name, kind } of SHOWN) {
    assertEquals(text.includes(`# TYPE calypte_${name} ${kind}\n`), !absent.includes(name), name);
  }
  assertStringIncludes(text, 'calypte_requests_total{task="detector",outcome="on_time"} 3\n');
  assertStringIncludes(text, 'calypte_requests_total{task="detector",outcome="late"} 1\n');
  assertStringIncludes(text, 'calypte_gpu_seconds_total{class="background",level="block"} 1.5\n');
  assertStringIncludes(text, 'calypte_build_info{version="1.2.3",backend="sim"} 1\n');
  assertStringIncludes(text, "calypte_power_watts 12.5\n");
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
    line.startsWith("calypte_request_response_seconds")
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
  assert(lines.includes('calypte_request_response_seconds_sum{task="detector"} 0.0030025'));
  assert(lines.includes('calypte_request_response_seconds_count{task="detector"} 3'));
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

Deno.test("the tables for the docs have one row for each metric, and the manual is up to date", async () => {
  const rows = metricsMarkdown().split("\n").filter((line) => line.startsWith("| `calypte_"));
  assertEquals(rows.length, SHOWN.length);
  const manual = await Deno.readTextFile(new URL("../../docs/METRICS.md", import.meta.url));
  for (const { name, help } of SHOWN) {
    assert(
      manual.includes(`calypte_${name}`) && manual.includes(help),
      `run tools/gen_metrics_docs.ts: ${name}`,
    );
  }
});

Deno.test("the share of idle time that is filled is not known before there was any", () => {
  const fill = (change: Parameters<typeof snapshotOf>[0]) =>
    readAll(AGENT_METRICS, { ...view(), snapshot: snapshotOf(change) }).idleFill;
  const run = { readyNs: 1e9, nowNs: 11e9, criticalBusyNs: 2e9, backgroundBusyNs: 6e9 };
  assertEquals(fill({ ...run, state: "ready" }), 0.75);
  assertEquals(fill({ ...run, state: "loading" }), undefined);
  assertEquals(fill({ ...run, state: "ready", criticalBusyNs: 10e9 }), undefined);
});

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$/;

Deno.test("the text keeps the rules of the format: families whole, no series twice, numbers that are", () => {
  const seen = new Set<string>();
  const families = new Set<string>();
  let family = "";
  for (const line of prometheusText(view()).trimEnd().split("\n")) {
    const [, kind, name = ""] = /^# (HELP|TYPE) (\S+) .+$/.exec(line) ?? [];
    if (kind === "HELP") {
      assert(!families.has(name), `${name} comes twice`);
      families.add(family = name);
    } else if (kind === "TYPE") assertEquals(name, family);
    else {
      const [, of = "", labels = "", value] = SAMPLE.exec(line) ?? [];
      assertEquals(of.replace(/_(bucket|sum|count)$/, ""), family.replace(/_(bucket|sum|count)$/, ""), line);
      assert(!seen.has(`${of} ${labels}`), line);
      seen.add(`${of} ${labels}`);
      assert(Number.isFinite(Number(value)), line);
    }
  }
});

Deno.test({
  name: "promtool finds nothing to say about the metrics",
  ignore: !await has("promtool"),
  async fn() {
    const promtool = new Deno.Command("promtool", {
      args: ["check", "metrics"],
      ...{ stdin: "piped", stdout: "piped", stderr: "piped" },
    });
    const child = promtool.spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(prometheusText(view())));
    await writer.close();
    const { code, stderr } = await child.output();
    assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
  },
});

async function has(program: string): Promise<boolean> {
  try {
    await new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" }).output();
    return true;
  } catch {
    return false;
  }
}

Deno.test("the Grafana dashboard asks for metrics that there are, and leaves no two panels in one place", async () => {
  const text = await Deno.readTextFile(new URL("../../docs/grafana/calypte.json", import.meta.url));
  const names = new Set(SHOWN.map(({ name }) => `calypte_${name}`));
  const asked = new Set([...text.matchAll(/calypte_\w+/g)].map(([name]) => name.replace(/_bucket$/, "")));
  assert(asked.size >= 10);
  for (const name of asked) assert(names.has(name), name);
  const taken = new Set<string>();
  for (const { gridPos: { x, y, w, h } } of JSON.parse(text).panels) {
    assert(x + w <= 24);
    for (let row = y; row < y + h; row++) {
      for (let column = x; column < x + w; column++) {
        assert(!taken.has(`${column}/${row}`), `${column}/${row}`);
        taken.add(`${column}/${row}`);
      }
    }
  }
});
