/**
 * How do kernels of the suite run on an engine, untouched and rewritten?
 *
 * Each kernel is loaded four times: as critical work (untouched: the reference) and as a background job (rewritten), and
 * both once more without anything around the kernel, to be timed. What comes back is compared with the reference here; when
 * the gate closes is the business of closings.ts.
 */
import { loadBundle } from "../../agent/bundle.ts";
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { Loader, type StepReport, type WorkSettings } from "../../agent/load.ts";
import { path } from "../../agent/std/mod.ts";
import { type Engine, type EngineSnapshot, NativeEngine, openLibrary, type Result } from "../../ffi/mod.ts";
import { libraryPath } from "../../ffi/library.ts";
import { fnv1a, pause } from "../session.ts";
import { costBundle, writeCloserBundle, writeSuiteBundle } from "./bundle.ts";
import type { SuiteKernel } from "./kernels.ts";

const LEASE_NS = 2e9;
const NO_INPUT = new Uint8Array();
/** Any will do, as long as no critical work is late and no `whole` kernel is refused. */
const DEADLINE_NS = 10e9;
const UNIT_TIMEOUT_NS = 10e9;
/** The simulated GPU is one of compute capability 8.7 with less shared memory; it does not look into the PTX. */
const SIMULATED_ARCH = "compute_80";
const SIMULATED_SHARED_BYTES = 64 * 1024;
/** CALYPTE_MAX_TASKS, less the closer, two tasks for each kernel. */
export const MOST_KERNELS = 3;

export interface RunOptions {
  backend: "cuda" | "sim";
  seed: number;
  /** Where bundles are written; the caller removes it. */
  dir: string;
  kernels: readonly SuiteKernel[];
  /** False: outputs are compared as they are, not folded. */
  fold: boolean;
  /** As in LoaderOptions. */
  prefer: "measured" | "loop" | "block";
  preemptionBoundNs: number;
}

/** One kernel as it was loaded; numbers are ids of tasks and jobs. */
export interface Loaded {
  kernel: SuiteKernel;
  /** The steps that launch the kernel itself are all alike; this is the first. */
  step: StepReport;
  /** Its number among the launches of a unit. */
  stepIndex: number;
  reference: number;
  job: number;
  costTask: number;
  costJob: number;
}

/** What one phase saw of a job's units. */
export interface Compared {
  units: number;
  wrong: number;
}

export interface Cost {
  untouchedUs: number[];
  rewrittenUs: number[];
}

interface Expected {
  kernel: SuiteKernel;
  output: Uint8Array;
  digest: bigint;
  compared: Compared;
  /** Number of the next unit. */
  next: number;
}

export class SuiteRun implements Disposable {
  readonly engine: Engine;
  readonly loaded: Loaded[] = [];
  closer = -1;
  readonly #expected = new Map<number, Expected>();
  #planned: number | undefined;
  #planId = 0;
  #planNs = 0;

  private constructor(engine: Engine) {
    this.engine = engine;
  }

  static async open(options: RunOptions): Promise<SuiteRun> {
    const { backend, kernels, seed } = options;
    if (kernels.length > MOST_KERNELS) {
      throw new RangeError(`Cannot open a run: ${kernels.length} kernels are more than ${MOST_KERNELS}`);
    }
    const run = new SuiteRun(NativeEngine.open(openLibrary(libraryPath()), { backend, seed }));
    try {
      await run.#load(options);
      return run;
    } catch (error) {
      run.engine.close();
      throw error;
    }
  }

  async #load({ backend, seed, dir, kernels, fold, prefer, preemptionBoundNs }: RunOptions): Promise<void> {
    const loader = new Loader({
      engine: this.engine,
      checkpoint: checkpointCompiler,
      preemptionBoundNs,
      prefer,
    });
    const task: Omit<Extract<WorkSettings, { kind: "critical" }>, "name" | "keepOutput"> = {
      ...{ kind: "critical", source: { kind: "api" }, deadlineNs: DEADLINE_NS, from: "arrival" },
      ...{ queue: "fifo", queueDepth: 16, onMiss: "publish-late", maxBlockingNs: DEADLINE_NS },
      ...{ yield: "always", anticipate: false },
    };
    const job = { kind: "background", source: { kind: "none" } } as const;
    const arch = backend === "sim" ? { arch: SIMULATED_ARCH } : {};
    const closerDir = path.join(dir, "closer");
    await writeCloserBundle(closerDir, arch);
    const closer = await loadBundle(closerDir);
    this.closer = loader.add({ ...task, name: "closer", keepOutput: false }, closer, undefined).id;
    for (const wanted of kernels) {
      const kernel = backend === "cuda"
        ? wanted
        : { ...wanted, sharedBytes: Math.min(wanted.sharedBytes, SIMULATED_SHARED_BYTES) };
      const at = path.join(dir, kernel.name);
      await writeSuiteBundle(kernel, at, { seed, fold, ...arch });
      const bundle = await loadBundle(at);
      Deno.removeSync(at, { recursive: true });
      const cost = costBundle(bundle, kernel);
      const name = kernel.name;
      const keepOutput = !kernel.exact;
      const rewritten = loader.add({ ...job, name, keepOutput }, bundle, undefined);
      const step = rewritten.steps.find((step) => step.kernel === kernel.entry);
      if (step === undefined) throw new Error(`${name} was loaded without its kernel`);
      let stepIndex = 0;
      for (const { kernel: other, launches } of rewritten.steps) {
        if (other === kernel.entry) break;
        stepIndex += launches;
      }
      const untouched = { ...task, queueDepth: 1 };
      const [costTask, costJob] = [
        { ...untouched, name: `cost-untouched-${name}`, keepOutput: false },
        { ...job, name: `cost-${name}`, keepOutput: false },
      ];
      this.loaded.push({
        kernel,
        step,
        stepIndex,
        job: rewritten.id,
        reference: loader.add({ ...untouched, name: `untouched-${name}`, keepOutput }, bundle, undefined).id,
        costTask: loader.add(costTask, cost, undefined).id,
        costJob: loader.add(costJob, cost, undefined).id,
      });
    }
  }

  /**
   * Before `start`: takes the reference, once more to see that it is one, and compares a first rewritten unit with it. Returns
   * in how many bytes the second and the rewritten one differ; of an inexact kernel, in how many elements beyond its
   * tolerance.
   */
  reference({ kernel, reference, job }: Loaded): { again: number; rewritten: number } {
    const { output } = this.engine.runOnce("critical", reference, NO_INPUT);
    const again = this.engine.runOnce("critical", reference, NO_INPUT).output;
    const rewritten = this.engine.runOnce("background", job, NO_INPUT).output;
    const compared = { units: 0, wrong: 0 };
    this.#expected.set(job, { kernel, output, digest: fnv1a(output), compared, next: 0 });
    return { again: differences(kernel, output, again), rewritten: differences(kernel, output, rewritten) };
  }

  /**
   * Before `start`: GPU times of the same launches, untouched and rewritten, in turn. Both are one graph between two events.
   * The untouched one holds two writes of the gate besides, about 5 us in 2 ms; a job that stayed `whole` is timed
   * launch by launch.
   */
  cost({ costTask, costJob }: Loaded, rounds: number): Cost {
    const cost: Cost = { untouchedUs: [], rewrittenUs: [] };
    const untouched = () =>
      cost.untouchedUs.push(this.engine.runOnce("critical", costTask, NO_INPUT).durationNs / 1000);
    const rewritten = () =>
      cost.rewrittenUs.push(this.engine.runOnce("background", costJob, NO_INPUT).durationNs / 1000);
    for (let round = -1; round < rounds; round++) {
      for (const time of round % 2 === 0 ? [untouched, rewritten] : [rewritten, untouched]) time();
      // The first loads code and fills caches.
      if (round < 0) Object.assign(cost, { untouchedUs: [], rewrittenUs: [] });
    }
    return cost;
  }

  start(): void {
    this.engine.ready();
  }

  /** From now on only this job runs; `undefined`: none. */
  plan(job: number | undefined): void {
    this.#planned = job;
    this.#planNs = 0;
    this.tend();
  }

  /** Collects and compares what has come, keeps the plan in force. Throws if the engine has stopped. */
  tend(): EngineSnapshot {
    const snapshot = this.engine.snapshot();
    if (snapshot.state !== "ready") {
      throw new Error(`the engine stopped: ${this.engine.takeEvents().map((e) => e.text).join("; ")}`);
    }
    if (this.#planNs === 0 || snapshot.nowNs > this.#planNs + LEASE_NS / 4) {
      const entries = this.#planned === undefined ? [] : [{ job: this.#planned, weight: 1, maxUnits: 0 }];
      this.engine.setPlan({ id: ++this.#planId, leaseNs: LEASE_NS, entries });
      this.#planNs = snapshot.nowNs;
    }
    for (let results = this.engine.takeResults(); results.length > 0; results = this.engine.takeResults()) {
      for (const result of results) {
        if (result.kind === "background") this.#compare(result);
      }
    }
    return snapshot;
  }

  #compare(result: Result): void {
    const expected = this.#expected.get(result.work);
    if (expected === undefined) throw new Error(`job ${result.work} ran without a reference`);
    if (result.number !== expected.next++) {
      throw new Error(`job ${result.work}: unit ${result.number} came where ${expected.next - 1} was due`);
    }
    // No output, as on the simulator: nothing to compare.
    if (result.digest === 0n) return;
    const { kernel, output, digest, compared } = expected;
    const same = kernel.exact ? result.digest === digest : differences(kernel, output, result.payload) === 0;
    compared.units += 1;
    if (!same) compared.wrong += 1;
  }

  /** What was compared since the last call. */
  takeCompared(job: number): Compared {
    const expected = this.#expected.get(job);
    if (expected === undefined) throw new Error(`job ${job} has no reference`);
    const { compared } = expected;
    expected.compared = { units: 0, wrong: 0 };
    return compared;
  }

  /** Until this many more units have come back, and no critical work is under way. Throws if that takes too long. */
  waitUnits(job: number, units: number): void {
    const next = () => this.#expected.get(job)!.next;
    const until = next() + units;
    const endNs = this.engine.snapshot().nowNs + UNIT_TIMEOUT_NS;
    for (;;) {
      const { nowNs, tasks, jobs } = this.tend();
      const closer = tasks[this.closer]!;
      if (next() >= until && closer.waiting + closer.inFlight === 0) return;
      if (nowNs > endNs) {
        const { step, entries, preemptions } = jobs[job]!;
        throw new Error(
          `job ${job} stands at step ${step} after ${entries} entries and ${preemptions} preemptions: it does not end`,
        );
      }
      pause(1);
    }
  }

  [Symbol.dispose](): void {
    this.engine.close();
  }
}

/** Bytes that differ; of an inexact kernel, elements that differ by more than its tolerance. */
function differences(kernel: SuiteKernel, want: Uint8Array, got: Uint8Array): number {
  if (want.length !== got.length) return Math.max(want.length, got.length);
  if (kernel.exact) return want.reduce((sum, byte, i) => sum + (byte === got[i] ? 0 : 1), 0);
  const [wanted, gotten] = [want, got].map((bytes) => new Float32Array(bytes.slice().buffer));
  return wanted!.reduce(
    (sum, value, i) => sum + (Math.abs(gotten![i]! - value) <= kernel.rtol * Math.abs(value) ? 0 : 1),
    0,
  );
}
