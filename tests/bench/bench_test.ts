import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { microTable, runMicro } from "../../bench/micro.ts";
import { quantilesOf, randomOf, shuffled } from "../../bench/statistics.ts";
import { geometricMean, type SemanticsRow } from "../../bench/semantics.ts";
import { fnv1a } from "../../bench/session.ts";

const RESULTS = new URL("../../bench/results/h200-2026-11-22/", import.meta.url);
const read = (name: string) => JSON.parse(Deno.readTextFileSync(new URL(name, RESULTS)));

Deno.test("the micro-benchmark runs on the simulator, and its table says so", () => {
  const report = runMicro({ backend: "sim", seed: 1, rounds: 1, stretchMs: 40 });
  assertEquals(report.latency.map(({ critical, blockUs }) => [critical, blockUs]), [
    ...[10, 100, 1000, 10, 100, 1000, 10000].map((us) => ["kernel-5us", us]),
    ...[10, 100, 1000, 10, 100, 1000, 10000].map((us) => ["chain-60", us]),
  ]);
  for (const { aloneUs, besideUs } of report.latency) {
    assert(aloneUs.count > 5 && besideUs.count > 5, "every stretch holds requests");
    assert(
      besideUs.p50 >= 0.99 * aloneUs.p50,
      "background makes nothing faster on the simulator, jitter apart",
    );
  }
  assertStringIncludes(microTable(report), "Simulated GPU");
});

Deno.test("quantiles are nearest ranks of the raw samples", () => {
  const samples = Array.from({ length: 200 }, (_, i) => 200 - i);
  assertEquals(quantilesOf(samples), { count: 200, p50: 100, p99: 198, max: 200 });
  assertEquals(quantilesOf([7]), { count: 1, p50: 7, p99: 7, max: 7 });
  assertEquals(quantilesOf([]), { count: 0, p50: 0, p99: 0, max: 0 });
});

Deno.test("one seed gives one order, and nothing is lost in it", () => {
  const items = Array.from({ length: 20 }, (_, i) => i);
  assertEquals(shuffled(items, randomOf(3)), shuffled(items, randomOf(3)));
  assertEquals(shuffled(items, randomOf(3)).toSorted((a, b) => a - b), items);
});

Deno.test("digests are FNV-1a, by its published vectors", () => {
  const digest = (text: string) => fnv1a(new TextEncoder().encode(text)).toString(16);
  assertEquals([digest(""), digest("a"), digest("foobar")], [
    "cbf29ce484222325",
    "af63dc4c8601ec8c",
    "85944171f73967e8",
  ]);
});

Deno.test("the README quotes what the results hold", () => {
  const readme = Deno.readTextFileSync(new URL("../../README.md", import.meta.url));
  const [, survey, identity] = read("gpu-test.json").checks.map((c: { seen: Record<string, never> }) =>
    c.seen
  );
  const micro = read("micro.json");
  const { requests, misses, response } = survey.summary.critical["obstacle-detector"];
  const sum = (key: string) =>
    identity.perJob.reduce((total: number, job: Record<string, number>) => total + job[key]!, 0);
  type Row = { critical: string; level: string; blockUs: number };
  const rowOf = (critical: string, blockUs: number, level = "block") =>
    micro.latency.find((r: Row) => r.critical === critical && r.blockUs === blockUs && r.level === level);
  const beside = (level: string, ...blockUs: number[]) =>
    `p50 ${blockUs.map((b) => us(rowOf("kernel-5us", b, level).besideUs.p50)).join(", ")}`;
  const suite: { rows: SemanticsRow[] } = read("semantics.json");
  const total = (of: (row: SemanticsRow) => number) =>
    suite.rows.reduce((sum, row) => sum + of(row), 0).toLocaleString("en");
  const units = total((r) => r.undisturbed.units + r.closed.units + r.storm.units);
  assertEquals(total((r) => r.undisturbed.wrong + r.closed.wrong + r.storm.wrong), "0");
  const costOf = (blockUs: number) =>
    micro.checkpointCost.find((r: { blockUs: number }) => r.blockUs === blockUs).ratio.toFixed(3);
  const us = (value: number) => `${value.toFixed(1)} us`;
  const tiny = rowOf("kernel-5us", 10);
  for (
    const quote of [
      `${requests} requests, ${misses} misses; response p50 ${response.p50Us} us, p99 ${
        response.p99Us.toFixed(0)
      } us`,
      `idle fill ${(survey.summary.idleFill * 100).toFixed(1)} %`,
      `${survey.detections - survey.wrong} of ${survey.detections} equal`,
      `after ${identity.preemptions} preemptions`,
      `${(sum("compared") - sum("different")).toLocaleString("en")} of ${
        sum("compared").toLocaleString("en")
      } units equal`,
      `${identity.leaves.toLocaleString("en")} workers had left`,
      `p50 ${us(tiny.besideUs.p50)} against ${us(tiny.aloneUs.p50)}, p99 ${us(tiny.besideUs.p99)} against ${
        us(tiny.aloneUs.p99)
      }`,
      `${rowOf("chain-60", 10).ratioP50.toFixed(3)} x; ${
        rowOf("chain-60", 1000, "loop").ratioP50.toFixed(3)
      } x`,
      `${suite.rows.length} kernels of nvcc and Triton`,
      `${units} of ${units} units equal, bit for bit; ${
        total((r) => r.closed.leaves + r.storm.leaves)
      } workers`,
      `geometric mean ${geometricMean(suite.rows)?.toFixed(3)} x`,
      `${costOf(6)} x, ${costOf(10)} x, ${costOf(50)} x`,
      beside("loop", 100, 1000, 10_000),
      beside("block", 100, 1000),
    ]
  ) assertStringIncludes(readme, quote);
});
