/** Summary, claims and report, from samples that this test makes up and labels so. */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../../assert.ts";
import type { Cell, System } from "../../../bench/eval/cells.ts";
import { claimsOf } from "../../../bench/eval/claims.ts";
import { makeReport } from "../../../bench/eval/report.ts";
import { FORMAT, type RawCell } from "../../../bench/eval/store.ts";
import { summarise, systemOf } from "../../../bench/eval/summary.ts";

const WINDOW_NS = 1e9;
const COUNT = 100;

function raw(cell: Partial<Cell>, responseNs: (i: number) => number, change: Partial<RawCell> = {}): RawCell {
  const arrivalsNs = cell.critical === "none" ? [] : Array.from({ length: COUNT }, (_, i) => i * 10e6);
  const checked = { why: "", checked: 1, wrong: 0 };
  return {
    format: FORMAT,
    cell: {
      ...{
        purpose: "run",
        system: "exclusive",
        critical: "detector",
        background: "none",
        arrivals: "periodic-100",
      },
      ...{ round: 1, ...cell },
    },
    backend: "cuda",
    machine: {
      ...{ gpu: "made up by a test", driver: "0", smMhzMax: 0, cpu: "none", cpus: 1, kernel: "0", deno: "0" },
      ...{ commit: "0", board: "0" },
    },
    seeds: { run: 1, arrivals: 1 },
    ...{ begunAt: "2026-01-01T00:00:00Z", windowNs: WINDOW_NS, arrivalsNs, launchNs: arrivalsNs },
    doneNs: arrivalsNs.map((at, i) => at + responseNs(i)),
    ...{
      busy: [],
      busyFrom: "device",
      busyNs: 0,
      units: 0,
      tookMs: 0,
      cpuS: 0.5,
      energyJ: 100,
      smMhz: [1000, 1100],
    },
    ...{ verified: { critical: checked, background: checked }, levelsNs: {}, notes: [], ...change },
  };
}

const EXCLUSIVE = (i: number) => 1e6 + i * 1000;

function cells(baseline: (i: number) => number, baselineUnits: number): RawCell[] {
  const all = [raw({ purpose: "calibrate" }, EXCLUSIVE)];
  for (const round of [1, 2, 3, 4, 5]) {
    const of = (system: System, response: (i: number) => number, units: number, busy: [number, number][]) =>
      raw({ system, background: "stencil", round }, response, { units, busy });
    const idle = Array.from(
      { length: COUNT },
      (_, i): [number, number] => [i * 10e6 + 1.2e6, (i + 1) * 10e6],
    );
    all.push(
      raw({ purpose: "alone", critical: "none", background: "stencil", round }, EXCLUSIVE, { units: 1000 }),
      raw({ round }, EXCLUSIVE),
      of("calypte-anticipated", (i) => EXCLUSIVE(i) + 1, 860, idle),
      of("mps", baseline, 950, [[0, WINDOW_NS]]),
      of("timeslice", baseline, baselineUnits, [[0, WINDOW_NS]]),
    );
  }
  return all;
}

Deno.test("figures are against exclusive use of the same round, and S is the calibration's p99", () => {
  const { groups: [group], backgroundTax } = summarise(cells((i) => i < 10 ? 1e6 : 5e6, 300));
  assertEquals(group!.limitNs, 1e6 + 98_000);
  const ours = systemOf(group!, "calypte-anticipated")!.rounds[0]!;
  assertEquals([ours.requests, ours.misses, ours.attained[0], ours.attained[2]], [100, 2, 0.98, 1]);
  assertEquals(ours.goodput, 0.86);
  assert(Math.abs(ours.fill - 0.985) < 0.005, String(ours.fill));
  assertEquals(systemOf(group!, "exclusive")!.rounds.length, 5);
  assertEquals(systemOf(group!, "mps")!.rounds[0]!.longestMissRun, 90);
  assertEquals(backgroundTax, []);
});

Deno.test("a claim is reached, not reached or not meaningful by its rule", () => {
  const of = (list: RawCell[], claim: string) =>
    claimsOf(summarise(list), undefined).find((c) => c.claim.includes(claim))!;
  assertEquals(of(cells((i) => i < 10 ? 1e6 : 5e6, 300), "spatial").verdict, "reached"); // 0.98 / 0.10
  assertEquals(of(cells((i) => i < 50 ? 1e6 : 5e6, 300), "spatial").verdict, "not meaningful"); // at most 2x
  assertStringIncludes(
    of(cells((i) => i < 50 ? 1e6 : 5e6, 300), "spatial").rule,
    "even 100 % would be 2.00x",
  );
  assertStringIncludes(of(cells(() => 5e6, 300), "spatial").rule, "attains nothing");
  assertEquals(of(cells(EXCLUSIVE, 300), "equal attainment").verdict, "reached"); // 860 / 300
  assertEquals(of(cells(EXCLUSIVE, 500), "equal attainment").verdict, "not reached");
  assertEquals(of(cells(() => 5e6, 300), "equal attainment").verdict, "not meaningful");
  assertEquals(of(cells(EXCLUSIVE, 300), "below exclusive").verdict, "not reached"); // 2 of 100 lie a nanosecond above S
  assertEquals(of(cells(EXCLUSIVE, 300), "idle time").verdict, "reached");
  assertEquals(of(cells(EXCLUSIVE, 300), "preemption").verdict, "not measured");
  const row = {
    critical: "kernel-5us",
    level: "loop",
    blockUs: 10,
    addedP50Us: 3,
    addedP99Us: 9,
    addedMeanUs: 4,
  };
  const claims = claimsOf(summarise(cells(EXCLUSIVE, 300)), [row]);
  assertEquals(claims.find(({ claim }) => claim.includes("preemption"))!.found, "4.0 us");
});

Deno.test("a cell with a wrong output, or with none that was compared, gives no figures and is told", () => {
  const list = cells(EXCLUSIVE, 300);
  const [mps, slice] = ["mps", "timeslice"].map((system) => list.find(({ cell }) => cell.system === system)!);
  mps!.verified = { ...mps!.verified, background: { why: "", checked: 9, wrong: 1 } };
  slice!.verified = { ...slice!.verified, critical: { why: "no reference", checked: 0, wrong: 0 } };
  const { groups: [group], rejected } = summarise(list);
  assertEquals(rejected.map(({ why }) => why), [
    "1 of 9 outputs of the background work were wrong",
    "no output of the critical work was compared: no reference",
  ]);
  assertEquals(systemOf(group!, "mps")!.rounds.length, 4);
  assertStringIncludes(makeReport(list).html, "1 of 9 outputs");
});

Deno.test("simulated samples are labelled in the report and in every plot, and held against no claim", () => {
  const list = cells(EXCLUSIVE, 300).map((one): RawCell => ({
    ...one,
    backend: "sim",
    cell: one.cell.system === "exclusive" ? { ...one.cell, system: "calypte-alone" } : one.cell,
  }));
  const { html, plots } = makeReport(list);
  assertStringIncludes(html, "Simulated.");
  assert(plots.size >= 3);
  for (const text of plots.values()) assertStringIncludes(text, "SIMULATED, not a GPU");
  assert(claimsOf(summarise(list), undefined).every(({ verdict }) => verdict === "not measured"));
  assertThrows(() => summarise([...list, ...cells(EXCLUSIVE, 300)]), Error, "simulated");
});

Deno.test("the report holds everything itself, and the deadline is drawn", () => {
  const { html, plots } = makeReport(cells((i) => i === 3 ? Infinity : 5e6, 300));
  assert(!/<(script|link|img)\b|https?:\/\/(?!www\.w3\.org)/.test(html), "nothing from elsewhere");
  assertStringIncludes(plots.get("cdf-detector-stencil-periodic-100.svg")!, "deadline S = 1098 us");
  assertStringIncludes(html, "made up by a test");
  assertStringIncludes(html, "some never answered");
  assert(!html.includes("NaN") && ![...plots.values()].join().includes("NaN"));
});

Deno.test("cells of one round with other arrivals are compared with nothing", () => {
  const list = cells(EXCLUSIVE, 300);
  const mps = list.find(({ cell }) => cell.system === "mps")!;
  mps.arrivalsNs = mps.arrivalsNs.map((at) => at + 1);
  const { groups: [group], rejected } = summarise(list);
  assertEquals(rejected.map(({ why }) => why), ["its arrivals are not those of exclusive in the same round"]);
  assertEquals(systemOf(group!, "mps")!.rounds.map(({ round }) => round), [2, 3, 4, 5]);
});

Deno.test("figures of two GPUs never stand beside each other", () => {
  const list = cells(EXCLUSIVE, 300);
  list[3]!.machine = { ...list[3]!.machine, board: "1" };
  assertThrows(() => summarise(list), Error, "different GPUs");
});

Deno.test("background that got nowhere has a goodput of 0; requests that were never answered are misses", () => {
  const nothing = { why: "no output came", checked: 0, wrong: 0 };
  const list = cells(EXCLUSIVE, 300);
  for (const raw of list) {
    if (raw.cell.system === "mps") {
      Object.assign(raw, { units: 0, verified: { ...raw.verified, background: nothing } });
    }
    if (raw.cell.system === "timeslice") {
      raw.doneNs = raw.doneNs.map((_, i) => i % 2 === 0 ? -1 : -2);
      raw.verified = { ...raw.verified, critical: nothing };
    }
  }
  const { groups: [group], rejected } = summarise(list);
  assertEquals(rejected, []);
  assertEquals(systemOf(group!, "mps")!.rounds.map(({ goodput }) => goodput), [0, 0, 0, 0, 0]);
  const lost = systemOf(group!, "timeslice")!.rounds[0]!;
  assertEquals([lost.misses, lost.unanswered, lost.attained], [100, 100, [0, 0, 0]]);
});

Deno.test("S is the median of the calibrations: one on a GPU that was not warm loosens it for nobody", () => {
  const list = cells(EXCLUSIVE, 300);
  const more = [2, 3].map((round) => raw({ purpose: "calibrate", round }, EXCLUSIVE));
  list[0] = raw({ purpose: "calibrate" }, (i) => 3 * EXCLUSIVE(i));
  const { groups: [group] } = summarise([...list, ...more]);
  assertEquals(group!.limitNs, 1e6 + 98_000);
  assertEquals(group!.limits.length, 3);
});

Deno.test("with four rounds a figure may be reached, but nothing is shown by it", () => {
  const few = cells(EXCLUSIVE, 300).filter(({ cell }) => cell.round < 5);
  const claim = claimsOf(summarise(few), undefined).find((one) => one.claim.includes("equal attainment"))!;
  assertEquals(claim.verdict, "not shown");
  assertStringIncludes(claim.rule, "fewer than 5 rounds");
});

Deno.test("idle time that is filled with work thrown away is not filled", () => {
  const list = cells(EXCLUSIVE, 300);
  for (const raw of list) if (raw.cell.system === "calypte-anticipated") raw.units = 100;
  const claims = claimsOf(summarise(list), undefined);
  for (const words of ["idle time filled", "overall utilisation"]) {
    assertEquals(claims.find(({ claim }) => claim === words)!.verdict, "not reached", words);
  }
});

Deno.test("cells that failed stand in the report, also those that were done later", () => {
  const list = cells(EXCLUSIVE, 300);
  const key = "run.detector.stencil.periodic-100.mps.r1";
  const { html } = makeReport(list, undefined, [], [{ key, why: "no <daemon>", at: "2026-01-01T00:00:00Z" }]);
  assertStringIncludes(html, `${key}: no &lt;daemon&gt; (done later)`);
});

Deno.test("what was measured first stands first", () => {
  const later = cells(EXCLUSIVE, 300).map((one): RawCell => ({
    ...one,
    begunAt: "2026-01-02T00:00:00Z",
    cell: one.cell.background === "stencil" ? { ...one.cell, background: "atomics" } : one.cell,
  }));
  const { groups } = summarise([...later, ...cells(EXCLUSIVE, 300)]);
  assertEquals(groups.map(({ background }) => background), ["stencil", "atomics"]);
});
