import { findingsIn } from "../../bench/sanitize.ts";
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
      ...schedulingQuotes(),
    ]
  ) assertStringIncludes(readme, quote);
});

interface SchedulingRow {
  alone: { launchUs: { p50: number } };
  beside: { launchUs: { p50: number }; late: number; dropped: number };
  addedP50Us: number;
  addedP99Us: number;
  ratioP99: number;
  idleFill: number;
  unitsPerS: number;
  blocksBegun: number;
  blocksBegunWhileCriticalAtWork: number;
}

/** What the README says of bench/scheduling.ts. */
function schedulingQuotes(): string[] {
  const rows: Record<string, SchedulingRow> = read("scheduling.json").rows;
  const each = (name: (hz: number) => string, of: (row: SchedulingRow) => string) =>
    [30, 100, 220].map((hz) => of(rows[name(hz)]!)).join(", ");
  const kernel = (hz: number) => `kernel-5us ${hz} Hz anticipated`;
  const detector = (hz: number) => `detector ${hz} Hz anticipated`;
  const units = (what: string, how: string) => rows[`${what}, yield: ${how}`]!.unitsPerS.toFixed(0);
  const long = "1 ms blocks at loop, units of 2 ms", short = "10 us blocks at block, units of 2 ms";
  const kept = rows["16 SMs kept, 1 ms blocks on the rest"]!;
  const overlap = rows["two tasks, phases drifting"]!;
  for (const { beside } of Object.values(rows)) assertEquals([beside.late, beside.dropped], [0, 0]);
  return [
    `p50 ${each(kernel, (r) => `${r.addedP50Us.toFixed(1)} us`)}; p99 ${
      each(kernel, (r) => `${r.addedP99Us.toFixed(1)} us`)
    }`,
    `p99 ${each(detector, (r) => `${r.ratioP99.toFixed(3)} x`)}; idle fill ${
      each(detector, (r) => `${(100 * r.idleFill).toFixed(1)} %`)
    }`,
    `${units(long, "when-needed")} units/s against ${units(long, "always")}; beside 10 us blocks ${
      units(short, "when-needed")
    } against ${units(short, "always")}`,
    `p50 ${kept.beside.launchUs.p50.toFixed(1)} us against ${kept.alone.launchUs.p50.toFixed(1)} us alone`,
    `${overlap.blocksBegunWhileCriticalAtWork} of ${
      overlap.blocksBegun.toLocaleString("en")
    } background blocks`,
  ];
}

Deno.test("the simulator foretells the recorded flight within 10 %, and the README says how closely", async () => {
  const root = new URL("../../", import.meta.url).pathname;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", `${root}agent/main.ts`, "simulate", `${root}examples/missions/survey.yaml`],
      ...["--replay", `${RESULTS.pathname}flight.jsonl`, "--profile", "h200", "--json"],
    ],
    stderr: "null",
  }).output();
  const { comparison } = JSON.parse(new TextDecoder().decode(stdout));
  const deviation = (what: string): number =>
    comparison.find((row: { what: string }) => row.what === what).deviationPercent;
  const all = ["obstacle-detector p50 ns", "obstacle-detector p99 ns", "vegetation-map units"].map(deviation);
  for (const each of all) assert(Math.abs(each) < 10, `${each} %`);
  assertEquals(deviation("obstacle-detector misses"), 0);
  const [p50, p99, units] = all.map((percent) => `${percent < 0 ? "" : "+"}${percent.toFixed(1)} %`);
  const readme = Deno.readTextFileSync(new URL("../../README.md", import.meta.url));
  assertStringIncludes(readme, `p50 ${p50}, p99 ${p99}, background units ${units}`);
});

Deno.test("what compute-sanitizer counted is read from its last line, and a silent tool is not a clean one", () => {
  const head = "========= COMPUTE-SANITIZER\n";
  assertEquals(findingsIn(`${head}========= ERROR SUMMARY: 0 errors\n`), 0);
  assertEquals(findingsIn(`${head}========= ERROR SUMMARY: 1 error\n`), 1);
  const race = "========= RACECHECK SUMMARY: 3 hazards displayed (2 errors, 1 warning)\n";
  assertEquals(findingsIn(head + race), 3);
  assertEquals(
    findingsIn(`${head}${race}========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n`),
    3,
  );
  assertEquals(findingsIn(head), undefined);
});
