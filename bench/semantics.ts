/**
 * Do rewritten kernels compute what the untouched ones do, bit for bit, however they are closed? And what do they cost?
 *
 * ```sh
 * deno run -A bench/semantics.ts --out DIR                       # on a GPU; all kernels of bench/suite
 * deno run -A bench/semantics.ts --kernels in-place,sort-rows --raw --seed 7
 * deno run -A bench/semantics.ts --prefer loop                   # or block; else the cheapest that keeps --bound-us
 * deno run -A bench/semantics.ts --backend sim --quick           # to see that it runs; nothing is compared
 * ```
 *
 * Each group of kernels runs in a process of its own, so that a kernel that faults or hangs takes no other with it; if one
 * does, the kernels of its group run again one by one. Ends with 1 if a promise was not kept.
 */
import { parseArgs, path } from "../agent/std/mod.ts";
import { openLibrary, probe, type StepInfo } from "../ffi/mod.ts";
import { libraryPath } from "../ffi/library.ts";
import type { CheckResult } from "./gpu_checks.ts";
import { quantilesOf, randomOf } from "./statistics.ts";
import { type ClosingLimits, type Disturbed, randomClosings, storm, undisturbed } from "./suite/closings.ts";
import { suiteKernels } from "./suite/kernels.ts";
import { type Compared, type Loaded, MOST_KERNELS, SuiteRun } from "./suite/run.ts";

const GROUP_TIMEOUT_MS = 120_000;
const LIMITS: ClosingLimits = { leaves: 1000, closings: 200, limitMs: 2000, stormMs: 50 };
const QUICK_LIMITS: ClosingLimits = { leaves: 100, closings: 20, limitMs: 100, stormMs: 10 };
const COST_ROUNDS = 9;

export interface SemanticsOptions {
  backend: "cuda" | "sim";
  /** Names; empty: all. */
  kernels: readonly string[];
  seed: number;
  /** Fewer closings. */
  quick: boolean;
  /** Outputs as they are, not folded: slow, but tells in how many bytes they differ. */
  raw: boolean;
  /** `measured`: the cheapest level that keeps the bound; else that level, where it is safe. */
  prefer: "measured" | "loop" | "block";
  preemptionBoundNs: number;
}

/** One kernel, as far as it came. */
export interface SemanticsRow {
  kernel: string;
  /** Empty: it was not loaded. */
  level: string;
  /** What the engine measured when it chose. */
  measured: StepInfo | undefined;
  notes: readonly string[];
  blocksPerSm: number;
  blocksPerSmUntouched: number;
  /** Why it is compared within a tolerance only; empty: bit for bit. */
  inexact: string;
  /** Bytes that differ between the reference and: the same again; one rewritten unit. */
  differing: { again: number; rewritten: number };
  undisturbed: Compared;
  closed: Disturbed;
  storm: Disturbed;
  cost: CostRow | undefined;
  seconds: number;
  /** What ended it; empty: nothing did. */
  error: string;
}

interface CostRow {
  untouchedUs: number;
  rewrittenUs: number;
  ratio: number;
  samplesUs: { untouched: number[]; rewritten: number[] };
}

const NOTHING = { units: 0, wrong: 0, closings: 0, preemptions: 0, leaves: 0 };

export function emptyRow(kernel: string, error: string): SemanticsRow {
  return {
    ...{
      kernel,
      level: "",
      measured: undefined,
      notes: [],
      blocksPerSm: 0,
      blocksPerSmUntouched: 0,
      inexact: "",
    },
    ...{ differing: { again: 0, rewritten: 0 }, undisturbed: NOTHING, closed: NOTHING, storm: NOTHING },
    ...{ cost: undefined, seconds: 0, error },
  };
}

/** True only if something was compared in every phase, and nothing differed. */
export function rowIsOk({ differing, undisturbed, closed, storm, error }: SemanticsRow): boolean {
  return error === "" && differing.again + differing.rewritten === 0 &&
    [undisturbed, closed, storm].every(({ units, wrong }) => units > 0 && wrong === 0);
}

/** Runs the kernels, group by group; `note` hears of each as soon as it is done. */
export async function runSemantics(
  options: SemanticsOptions,
  note: (row: SemanticsRow) => void = () => {},
): Promise<SemanticsRow[]> {
  const names = suiteKernels(options.kernels).map(({ name }) => name);
  const rows: SemanticsRow[] = [];
  for (let i = 0; i < names.length; i += MOST_KERNELS) {
    const group = names.slice(i, i + MOST_KERNELS);
    let done = await runInProcess(options, group);
    if (group.length > 1 && done.some(({ error }) => error !== "")) {
      done = [];
      for (const name of group) done.push(...await runInProcess(options, [name]));
    }
    done.forEach(note);
    rows.push(...done);
  }
  return rows;
}

/** Kernels that must have been left this often, counted on the device, for the comparison to say something. */
const LEAST_KERNELS_LEFT = 40;

export async function checkSemantics(
  options: SemanticsOptions,
): Promise<{ check: CheckResult; rows: SemanticsRow[] }> {
  const rows = await runSemantics(options);
  const { leaves } = options.quick ? QUICK_LIMITS : LIMITS;
  const left = rows.filter(({ closed }) => closed.leaves >= leaves).length;
  const sum = (of: (row: SemanticsRow) => number) => rows.reduce((total, row) => total + of(row), 0);
  return {
    check: {
      name: `${rows.length} kernels compute the same rewritten, bit for bit, however they are closed; ` +
        `at least ${LEAST_KERNELS_LEFT} of them with ${leaves} leaves`,
      ok: rows.every(rowIsOk) && left >= LEAST_KERNELS_LEFT,
      seen: {
        kernels: rows.length,
        ok: rows.filter(rowIsOk).length,
        left,
        units: sum((r) => r.undisturbed.units + r.closed.units + r.storm.units),
        closings: sum((r) => r.closed.closings + r.storm.closings),
        leaves: sum((r) => r.closed.leaves + r.storm.leaves),
        failed: rows.filter((row) => !rowIsOk(row)).map(({ kernel, error }) => ({ kernel, error })),
      },
    },
    rows,
  };
}

/** The bound is what was reached; 1.03 was aimed at, and short kernels are what stands against it (README). */
const COST_BOUND = 1.15;

export function checkCost(rows: readonly SemanticsRow[]): CheckResult {
  const mean = geometricMean(rows);
  const slowest = rows.toSorted((a, b) => (b.cost?.ratio ?? 0) - (a.cost?.ratio ?? 0)).slice(0, 5);
  return {
    name: `undisturbed, the same kernels take at most ${COST_BOUND} x as long, in the geometric mean`,
    ok: mean !== undefined && mean <= COST_BOUND,
    seen: { geometricMean: mean, slowest: slowest.map(({ kernel, cost }) => [kernel, cost?.ratio]) },
  };
}

export function writeSemantics(dir: string, report: Record<string, unknown>): void {
  Deno.mkdirSync(dir, { recursive: true });
  Deno.writeTextFileSync(path.join(dir, "semantics.json"), JSON.stringify(report) + "\n");
}

/** Of rewritten to untouched time; `undefined` if nothing was timed. */
export function geometricMean(rows: readonly SemanticsRow[]): number | undefined {
  const logs = rows.flatMap(({ cost }) => cost === undefined ? [] : [Math.log(cost.ratio)]);
  return logs.length === 0 ? undefined : Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length);
}

async function runInProcess(options: SemanticsOptions, kernels: readonly string[]): Promise<SemanticsRow[]> {
  const failed = (why: string) => kernels.map((kernel) => emptyRow(kernel, why));
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--cached-only", path.join(import.meta.dirname!, "semantics.ts")],
        ...["--worker", JSON.stringify({ ...options, kernels })],
      ],
      signal: AbortSignal.timeout(GROUP_TIMEOUT_MS),
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    if (code !== 0) return failed(`ended with ${code}: ${text(stderr).slice(-1000)}`);
    return JSON.parse(text(stdout).split("\n").at(-1)!);
  } catch (error) {
    return failed(error instanceof Error ? error.message : String(error));
  }
}

/** In this process. What one kernel throws ends the run, and the kernels behind it are reported as not run. */
async function runGroup(options: SemanticsOptions): Promise<SemanticsRow[]> {
  const { backend, seed, quick, raw, prefer, preemptionBoundNs } = options;
  const kernels = suiteKernels(options.kernels);
  const dir = Deno.makeTempDirSync({ prefix: "calypte-suite-" });
  const rows = kernels.map(({ name }) => emptyRow(name, "not run"));
  try {
    using run = await SuiteRun.open({ backend, seed, kernels, dir, fold: !raw, prefer, preemptionBoundNs });
    run.loaded.forEach((loaded, i) => loadedRow(rows[i]!, run, loaded, options));
    run.start();
    const random = randomOf(seed);
    const limits = quick ? QUICK_LIMITS : LIMITS;
    for (const [i, { job }] of run.loaded.entries()) {
      const begin = performance.now();
      const row = rows[i]!;
      row.undisturbed = undisturbed(run, job);
      row.closed = randomClosings(run, job, limits, random);
      row.storm = storm(run, job, limits);
      run.plan(undefined);
      row.error = "";
      row.seconds += (performance.now() - begin) / 1000;
    }
  } catch (error) {
    const row = rows.find((row) => row.error !== "");
    if (row !== undefined) row.error = error instanceof Error ? error.message : String(error);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
  return rows;
}

function loadedRow(
  row: SemanticsRow,
  run: SuiteRun,
  loaded: Loaded,
  { backend, quick }: SemanticsOptions,
): void {
  const begin = performance.now();
  const { kernel, step } = loaded;
  const { level, notes, blocksPerSm, blocksPerSmUntouched } = step;
  Object.assign(row, { level, notes, blocksPerSm, blocksPerSmUntouched });
  row.inexact = kernel.exact ? "" : kernel.why;
  row.differing = run.reference(loaded);
  row.measured = run.engine.jobStep(loaded.job, loaded.stepIndex);
  row.level = row.measured.level;
  const { untouchedUs, rewrittenUs } = run.cost(loaded, quick ? 1 : COST_ROUNDS);
  if (backend === "cuda") {
    const [untouched, rewritten] = [quantilesOf(untouchedUs).p50, quantilesOf(rewrittenUs).p50];
    row.cost = {
      ...{ untouchedUs: untouched, rewrittenUs: rewritten, ratio: rewritten / untouched },
      samplesUs: { untouched: untouchedUs, rewritten: rewrittenUs },
    };
  }
  row.seconds = (performance.now() - begin) / 1000;
}

/** Longest drain at the level that was chosen. */
function drainUs(info: StepInfo | undefined): string {
  const ns = info === undefined ? 0 : info.level === "loop" ? info.loopDrainNs : info.blockDrainNs;
  return ns === 0 ? "-" : (ns / 1000).toFixed(1);
}

/** The table that a person reads. */
export function semanticsTable(rows: readonly SemanticsRow[]): string {
  const lines = rows.map((row) => {
    const { kernel, level, measured, undisturbed, closed, storm, cost, error } = row;
    const sum = (key: "units" | "wrong") => undisturbed[key] + closed[key] + storm[key];
    const cells = [
      kernel.padEnd(26),
      level.padEnd(6),
      `${sum("units")}`.padStart(6),
      `${sum("wrong")}`.padStart(6),
      `${closed.closings + storm.closings}`.padStart(8),
      `${closed.leaves}`.padStart(8),
      `${measured?.workers ?? 0}x${measured?.runBlocks ?? 0}`.padStart(8),
      drainUs(measured).padStart(7),
      (cost === undefined ? "-" : cost.untouchedUs.toFixed(0)).padStart(6),
      (cost === undefined ? "-" : cost.ratio.toFixed(3)).padStart(6),
      rowIsOk(row)
        ? "ok"
        : error === "" && sum("units") === 0
        ? "nothing compared"
        : `FAIL ${error.slice(0, 160)}`,
    ];
    return cells.join(" ");
  });
  const mean = geometricMean(rows);
  const title =
    "kernel                     level   units  wrong closings   leaves  workers   drain     us   cost";
  const last = `${rows.filter(rowIsOk).length} of ${rows.length} kernels ok; rewritten / untouched time, ` +
    `geometric mean: ${mean === undefined ? "not measured" : mean.toFixed(3)}`;
  return [title, ...lines, last].join("\n");
}

async function main(): Promise<number> {
  const args = parseArgs(Deno.args, {
    string: ["out", "backend", "seed", "commit", "kernels", "prefer", "bound-us", "worker"],
    boolean: ["quick", "raw"],
  });
  if (typeof args["worker"] === "string") {
    console.log(JSON.stringify(await runGroup(JSON.parse(args["worker"]))));
    return 0;
  }
  const options: SemanticsOptions = {
    backend: args["backend"] === "sim" ? "sim" : "cuda",
    kernels: typeof args["kernels"] === "string" ? args["kernels"].split(",") : [],
    seed: Number(args["seed"] ?? 1),
    quick: args["quick"] === true,
    raw: args["raw"] === true,
    prefer: args["prefer"] === "loop" || args["prefer"] === "block" ? args["prefer"] : "measured",
    preemptionBoundNs: 1000 * Number(args["bound-us"] ?? 30),
  };
  const device = probe(openLibrary(libraryPath()), options.backend);
  const rows = await runSemantics(options, ({ kernel, seconds, error }) => {
    console.error(`${kernel}: ${seconds.toFixed(1)} s ${error}`);
  });
  if (typeof args["out"] === "string") {
    const commit = typeof args["commit"] === "string" ? args["commit"] : "unknown";
    const limits = options.quick ? QUICK_LIMITS : LIMITS;
    const report = { device, commit, ...options, limits, geometricMean: geometricMean(rows), rows };
    writeSemantics(args["out"], report);
  }
  console.log(`${device.name}, ${device.driver || "no driver"}; seed ${options.seed}`);
  console.log(semanticsTable(rows));
  if (options.backend === "cuda") return rows.every(rowIsOk) ? 0 : 1;
  console.log("SIMULATED: nothing was compared");
  return rows.every(({ error }) => error === "") ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
