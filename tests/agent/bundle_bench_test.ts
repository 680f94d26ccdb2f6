/** `calypte bundle bench`: what is measured of a bundle, how it is shown, and what it is compared with. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../assert.ts";
import { type Bundle, loadBundle } from "../../agent/bundle.ts";
import { benchHtml } from "../../agent/bundle_bench/html.ts";
import { benchBundle } from "../../agent/bundle_bench/measure.ts";
import {
  type BenchReport,
  compareReports,
  quantilesOf,
  readReport,
} from "../../agent/bundle_bench/report.ts";
import { benchLines, comparisonLines } from "../../agent/bundle_bench/text.ts";
import { hexOf, sha256Of } from "../../agent/bundle_reader.ts";
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { reportKernels } from "../../agent/commands/bundle.ts";
import { InputError } from "../../agent/errors.ts";
import { main } from "../../agent/main.ts";
import { path } from "../../agent/std/mod.ts";
import type { DeviceInfo, StepInfo, WorkKind } from "../../ffi/engine.ts";
import { FakeEngine } from "./fake_engine.ts";
import { writeBundle } from "./mission_fixture.ts";

const BOUND_NS = 30_000;
const NONE = { periodSlots: 0, blockDrainNs: 0, loopDrainNs: 0, loopNs: 0 };

/** A GPU whose times grow from load to load. A job's steps: upload, the bundle's one kernel, download. */
class TimedEngine extends FakeEngine {
  readonly #load: number;
  #units = 0;

  constructor(load: number) {
    super();
    this.backend = "cuda";
    this.#load = load;
    this.timings.push({ runs: 20, bestNs: 9_000, p50Ns: 10_000, worstNs: 12_000 });
  }
  override device(): DeviceInfo {
    return { ...super.device(), name: "timed", memoryFreeBytes: 2 ** 30 - this.works.length * 2 ** 20 };
  }
  override runOnce(kind: WorkKind = "critical", _work = 0, _input?: Uint8Array) {
    // The first units are slow, as on a GPU whose clocks are low.
    const slow = this.#units++ < 5 ? 1_000_000 : 0;
    return {
      output: new Uint8Array(),
      durationNs: (kind === "critical" ? 5_000 : 6_000) + this.#load + slow,
    };
  }
  override jobStep(job: number, step: number): StepInfo {
    const untouched = job === 1;
    const looping = !untouched && step === 1 && this.#load > 1;
    if (looping) {
      return {
        ...NONE,
        level: "loop",
        workers: 8,
        runBlocks: 1,
        blockNs: 90_000,
        loopNs: 44_000,
        loopDrainNs: 7_000,
      };
    }
    const level = untouched && step === 1 ? "whole" : "block";
    const blockNs = step === 1 ? (untouched ? 40_000 : 42_000) + this.#load : 2_000;
    return { ...NONE, level, workers: 8, runBlocks: 2, blockNs, blockDrainNs: step === 1 ? 50_000 : 0 };
  }
}

async function fixture(change?: (dir: string) => Promise<void>): Promise<Bundle> {
  const dir = await Deno.makeTempDir({ prefix: "calypte-bench-" });
  try {
    await writeBundle(dir, "adder");
    await change?.(dir);
    return await loadBundle(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function timed(loads = 3, runs = 10): Promise<{ report: BenchReport; opened: TimedEngine[] }> {
  const bundle = await fixture();
  const opened: TimedEngine[] = [];
  const report = benchBundle({
    open: () => opened[opened.push(new TimedEngine(opened.length + 1)) - 1]!,
    backend: "cuda",
    checkpoint: checkpointCompiler,
    bundle,
    reports: reportKernels(bundle),
    preemptionBoundNs: BOUND_NS,
    ...{ runs, loads },
  });
  return { report, opened };
}

async function calypte(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const code = await main(args, { out: (text) => void (out += text), err: (text) => void (err += text) });
  return { code, out, err };
}

Deno.test("each load is an engine of its own, which is closed, and all loads together make up the runs", async () => {
  const { report, opened } = await timed(3, 10);
  assertEquals(opened.map(({ closed }) => closed), [true, true, true]);
  assertEquals([report.unit.critical.count, report.unit.background.count], [10, 10]);
  assertEquals([report.simulated, report.loads, report.device], [false, 3, "timed"]);
  assertEquals(opened[0]?.works.map(({ kind }) => kind), ["critical", "background", "background"]);
  // The third is there to be timed untouched.
  assertEquals(opened[0]?.works[2]?.steps.map(({ level }) => level), ["block", "whole", "block"]);
});

Deno.test("units that warm the GPU up do not count", async () => {
  const { report } = await timed(3, 10);
  assertEquals([report.unit.critical.minNs, report.unit.critical.maxNs], [5_001, 5_003]);
  assertEquals(report.unit.background.maxNs, 6_003);
});

Deno.test("a kernel's cost is its time at the level chosen against its time untouched, over all loads", async () => {
  const { steps } = (await timed()).report;
  assertEquals(steps.map(({ kernel }) => kernel), ["calypte_upload", "add_one", "calypte_download"]);
  const kernel = steps[1]!;
  assertEquals([kernel.untouched?.p50Ns, kernel.chosen?.minNs, kernel.chosen?.p50Ns], [
    40_002,
    42_001,
    44_000,
  ]);
  assertEquals(kernel.cost, 44_000 / 40_002);
  assertEquals(kernel.levels, { block: 1, loop: 2 });
  assertEquals(kernel.safeLevels, ["block", "slice", "whole"]);
});

Deno.test("a kernel that kept the GPU longer than the bound in any load is marked", async () => {
  const { report } = await timed();
  assertEquals(report.steps.map(({ drainNs, keepsBound }) => [drainNs, keepsBound]), [
    [null, true],
    [50_000, false],
    [null, true],
  ]);
  const text = benchLines(report).join("\n");
  assertMatch(text, /\nadd_one .* 50 us !\n/);
  assertStringIncludes(text, "add_one keeps the GPU longer than the preemption bound");
});

Deno.test("memory is shown as reckoned and as seen, and the host's view of a request beside the GPU's", async () => {
  const { report } = await timed();
  assertEquals(report.memory.critical.seenBytes, 2 ** 20);
  const text = benchLines(report).join("\n");
  assertMatch(text, /seen: free memory fell by +1 MiB +1 MiB/);
  assertStringIncludes(text, "launch to completion: best 9 us, p50 10 us, worst 12 us of 20");
});

Deno.test("quantiles are nearest rank, and there are none without samples", () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  assertEquals(quantilesOf(hundred), { count: 100, minNs: 1, p50Ns: 50, p90Ns: 90, p99Ns: 99, maxNs: 100 });
  assertEquals(quantilesOf([7])?.p99Ns, 7);
  assertEquals(quantilesOf([]), undefined);
});

Deno.test("two reports are compared kernel by kernel, the second launch of one with the second", async () => {
  const { report } = await timed();
  const [upload, kernel, download] = report.steps as [
    typeof report.steps[0],
    typeof report.steps[0],
    typeof report.steps[0],
  ];
  const twice = { ...kernel, chosen: { ...kernel.chosen!, p50Ns: 88_000 } };
  const now = { ...report, steps: [upload, kernel, twice, download] };
  const then = {
    ...report,
    device: "older",
    steps: [upload, kernel, kernel, { ...download, kernel: "other" }],
  };
  const found = compareReports(now, then, "then.json");
  assertEquals(found.steps.map(({ what, ratio }) => [what, ratio]), [
    ["calypte_upload", 1],
    ["add_one", 1],
    ["add_one #2", 2],
  ]);
  assertEquals([found.onlyNow, found.onlyThen, found.notes], [["calypte_download"], ["other"], [
    "another device: older",
  ]]);
  const text = comparisonLines(found, "then.json").join("\n");
  assertMatch(text, /add_one #2 +88 us +44 us +2\.000/);
});

Deno.test("what was measured is not compared with what was simulated", async () => {
  const { report } = await timed();
  const simulated: BenchReport = { ...report, backend: "sim", simulated: true };
  const error = assertThrows(() => compareReports(report, simulated, "sim.json"), InputError);
  assertMatch(error.message, /^sim\.json: backend: must be cuda as here, not sim: /);
});

Deno.test("the page holds all it needs, marks what breaks the bound, and takes no text for markup", async () => {
  const { report } = await timed();
  const page = benchHtml({ ...report, device: "<script>alert(1)</script>" });
  assert(!page.includes("<script"), "no script");
  assert(!/(src|href)=/.test(page), "fetches nothing");
  assertStringIncludes(page, "&lt;script&gt;");
  const [head, row] = [/<tr><th>kernel<.*<\/tr>/, /<tr><td>add_one<.*<\/tr>/].map((line) =>
    page.match(line)![0].split(/<\/?t[hd]>/).filter((_, index) => index % 2 === 1)
  );
  const under = Object.fromEntries(head!.map((name, index) => [name, row?.[index]]));
  assertEquals([under["keeps the GPU"], under["cost"]], ['<span class="bad">50 us !</span>', "1.100"]);
  assertEquals([under["level"], under["block"]], ["block 1, loop 2", "128 x 1 x 1"]);
  assert(!page.includes("SIMULATED"));
  assertStringIncludes(benchHtml({ ...report, simulated: true }), "SIMULATED");
});

Deno.test("on the simulator a bundle's estimates are told, labelled, and can be read back and compared", async () => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-bench-" });
  try {
    const [bundle, file, page] = ["bundle", "bench.json", "bench.html"].map((name) => path.join(dir, name));
    await Deno.mkdir(bundle!);
    await writeBundle(bundle!, "adder");
    const bench = ["bundle", "bench", bundle!, "--backend", "sim", "--runs", "20"];
    const { code, out } = await calypte(...bench, "--html", page!);
    assertEquals(code, 0);
    assertMatch(out, /^adder on Simulated GPU.*\nSIMULATED: no GPU was used\..*\n20 units in 1 load,/);
    assertStringIncludes(await Deno.readTextFile(page!), "SIMULATED");
    const json = (await calypte(...bench, "--json")).out;
    await Deno.writeTextFile(file!, json);
    const report = await readReport(file!);
    assertEquals([report.simulated, report.unit.background.count], [true, 20]);
    assert(report.unit.background.minNs > 0);
    assertEquals(report.steps.map(({ chosen }) => chosen), [null, null, null]);
    const both = JSON.parse((await calypte(...bench, "--json", "--compare", file!)).out);
    assertEquals(both.found.units.map(({ ratio }: { ratio: number }) => ratio), [1, 1]);
    assertMatch((await calypte(...bench, "--compare", bundle!)).out, /\nas a critical task .* 1\.000\n/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("bad options and files are named before anything is measured", async () => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-bench-" });
  try {
    await writeBundle(dir, "adder");
    const bench = ["bundle", "bench", dir, "--backend", "sim"];
    for (
      const [args, message] of [
        [["--runs", "0"], "--runs: must be a whole number 1..100000, not 0"],
        [["--bound", "5"], '--bound: must have a unit, such as "15ms", not "5"'],
        [
          ["--compare", `${dir}/none.json`],
          "--compare: must be a bundle's folder or what --json wrote: does not exist",
        ],
        [["--compare", `${dir}/bundle.json`], "bundle.json"],
        [["--html", `${dir}/none/bench.html`], "--html: must be a file that can be written"],
      ] as [string[], string][]
    ) {
      const { code, out, err } = await calypte(...bench, ...args);
      assertEquals([code, out], [2, ""]);
      assertStringIncludes(err, message);
    }
    await Deno.writeTextFile(`${dir}/bad.json`, "{");
    await assertRejects(() => readReport(`${dir}/bad.json`), InputError, "must be what calypte bundle bench");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a bundle with a plugin is refused by name, and sent to verify", async () => {
  const dir = await Deno.makeTempDir({ prefix: "calypte-bench-" });
  try {
    const content = new Uint8Array(8);
    await Deno.writeFile(path.join(dir, "plugin.so"), content);
    const sha256 = hexOf(await sha256Of(content));
    const manifest = {
      format: "calypte-bundle/1",
      name: "plug",
      plugin: { file: "plugin.so", sha256 },
      buffers: [{ name: "out", role: "output", bytes: 64 }],
    };
    await Deno.writeTextFile(path.join(dir, "bundle.json"), JSON.stringify(manifest));
    const { code, err } = await calypte("bundle", "bench", dir, "--backend", "sim");
    assertEquals(code, 2);
    assertMatch(err, /bundle\.json: plugin: must be left out for a bench: .*; calypte bundle verify times/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
