/**
 * The evaluation: Calypte against every way in which a GPU is shared today. See README.md beside it.
 *
 * ```sh
 * deno task eval --out out/eval --budget 8m              # on a GPU
 * deno task eval --out out/eval --backend sim --rounds 3 # to see that it works; its times are simulated
 * ```
 */
import { path } from "../../agent/std/mod.ts";
import { machineOf, PowerLog } from "./machine.ts";
import { Archive } from "./archive.ts";
import { runOnGpu } from "./cell.ts";
import { BASELINES, cellsOf, keyOf } from "./cells.ts";
import { runBaseline } from "./driver.ts";
import { type EvalOptions, parseOptions } from "./options.ts";
import { PREEMPTION_FILE } from "./preemption.ts";
import { PARTS } from "./parts.ts";
import { planOf, planText, PREEMPTION_MS } from "./plan.ts";
import { runLimited } from "./process.ts";
import { writeReport } from "./report.ts";
import { type CellRunner, runMatrix, runSimulated } from "./run.ts";
import { type SharingTest, testSharing } from "./self_test.ts";
import { testAll } from "./sharing.ts";
import { FORMAT, Store } from "./store.ts";

/** By the micro-benchmark, in a process of its own; once per run. It fails alone. */
async function measurePreemption({ out, backend, matrix: { seed } }: EvalOptions): Promise<void> {
  const file = path.join(out, PREEMPTION_FILE);
  try {
    await Deno.stat(file);
    return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const dir = await Deno.makeTempDir();
  try {
    const micro = new URL("../micro.ts", import.meta.url).pathname;
    const args = ["run", "-A", "--quiet", "--cached-only", micro];
    args.push("--out", dir, "--backend", backend, "--seed", String(seed));
    await runLimited("the micro-benchmark", args, 2 * PREEMPTION_MS);
    await Deno.copyFile(path.join(dir, "micro.json"), file);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** A baseline that was not found to share as it says gets no cell. */
function gpuRunner(tests: readonly SharingTest[]): CellRunner {
  return (plan) => {
    const { system } = plan.cell;
    if (!BASELINES.includes(system as never)) return runOnGpu(plan);
    const failed = tests.find((one) => one.system === system && !one.passed);
    if (failed !== undefined) throw new Error(`it does not share as ${system}: ${failed.text}`);
    return runBaseline(plan);
  };
}

async function measure(options: EvalOptions): Promise<boolean> {
  const { out, backend, matrix, requests, resume } = options;
  const beginMs = performance.now();
  const machine = await machineOf(backend, options.commit);
  const store = await Store.open(
    out,
    { format: FORMAT, backend, seed: matrix.seed, matrix, requests, machine },
    resume,
  );
  const archive = options.archive === undefined ? undefined : await Archive.open(out, options.archive);
  // A cell that is under way is brought to its end, so that its processes and MPS end too.
  let isStopped = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => isStopped = true);
  await using power = backend === "cuda" ? PowerLog.start() : undefined;
  const say = (line: string) => console.log(line);
  const tests = backend === "cuda" ? await testAll(out, matrix.systems, testSharing, say) : [];
  const run = backend === "cuda" ? gpuRunner(tests) : runSimulated;
  const { done, already, failed, left, skipped } = await runMatrix({
    ...{ options, store, machine, power, run, say, beginMs },
    now: () => performance.now(),
    isStopped: () => isStopped,
    onDone: async (cell) => await archive?.add(Store.nameOf(cell)),
  });
  console.log(
    `${done} cells done, ${already} were there already, ${failed.length} failed, ${skipped} left out behind ` +
      `those, ${left} left for want of time`,
  );
  const leftMs = options.budgetMs === undefined ? Infinity : options.budgetMs - (performance.now() - beginMs);
  let isGood = failed.length === 0;
  if (options.preemption && !isStopped) {
    try {
      if (leftMs < PREEMPTION_MS) throw new Error("the budget does not leave the time");
      await measurePreemption(options);
    } catch (error) {
      isGood = false;
      console.error(`Preemption latency was not measured: ${error instanceof Error ? error.message : error}`);
    }
  }
  await archive?.rest();
  return isGood;
}

/** All parts in brief, or the cells of what was asked for. */
async function showPlan(options: EvalOptions): Promise<void> {
  const done = await Store.all(options.out).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  });
  if (options.isChosen) {
    for (const line of planText(planOf(options, done), options, false)) console.log(line);
    return;
  }
  let sumMs = 0;
  const planned = new Set<string>();
  for (const [i, { text }] of PARTS.entries()) {
    const part = parseOptions(["--out", options.out, "--part", String(i + 1)]);
    const plan = planOf(part, done, planned);
    for (const { cell } of plan.cells) planned.add(keyOf(cell));
    sumMs += plan.totalMs;
    console.log(`--part ${i + 1}: ${text}`);
    console.log(`  ${planText(plan, part, true)[0]}; ${(sumMs / 60_000).toFixed(1)} minutes up to here`);
  }
}

if (import.meta.main) {
  let options: EvalOptions;
  try {
    options = parseOptions(Deno.args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(2);
  }
  if (options.plan) {
    await showPlan(options);
    Deno.exit(0);
  }
  if (options.list) {
    for (const cell of cellsOf(options.matrix)) console.log(keyOf(cell));
    Deno.exit(0);
  }
  const isGood = options.reportOnly || await measure(options);
  if ((await Store.all(options.out)).length === 0) {
    console.error(`There is nothing to report on in ${options.out}: no cell is done`);
    Deno.exit(1);
  }
  const { summary } = await writeReport(options.out);
  console.log(
    `${options.out}/report.html: ${summary.groups.length} groups, ${summary.rejected.length} cells rejected`,
  );
  // Also ends the listeners for signals.
  Deno.exit(isGood && summary.rejected.length === 0 ? 0 : 1);
}
