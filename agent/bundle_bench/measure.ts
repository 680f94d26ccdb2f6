/**
 * How long does a bundle take by itself, on this engine?
 *
 * On a GPU: units run one after the other before the engine is ready, so that nothing is scheduled. The bundle is loaded
 * several times, each time into an engine of its own, as what is measured at load differs from load to load. On the
 * simulator, in virtual time: its times are the manifest's estimates with the simulator's deviations, and no kernel is timed.
 */
import type { Backend, DeviceInfo, Engine, StepInfo, WorkKind } from "../../ffi/engine.ts";
import type { KernelReport } from "../../ptx/mod.ts";
import { type Bundle, type KernelStep, pickModule } from "../bundle.ts";
import type { CheckpointCompiler } from "../checkpoint.ts";
import { type LoadedWork, Loader, type Prefer, type StepReport, type WorkSettings } from "../load.ts";
import { memoryNeed } from "../memory_need.ts";
import { totalGpuNs } from "../policy_snapshot.ts";
import { VERSION } from "../version.ts";
import { type BenchReport, type Quantiles, quantilesOf, REPORT_FORMAT, type StepBench } from "./report.ts";

export interface BenchOptions {
  /** Opens an engine: real, or the simulator with a virtual clock. */
  open: () => Engine;
  backend: Backend;
  checkpoint: CheckpointCompiler;
  bundle: Bundle;
  /** What the compiler says of each module's kernels. */
  reports: readonly { readonly file: string; readonly kernels: readonly KernelReport[] }[];
  preemptionBoundNs: number;
  /** Units timed, for each of the two uses. */
  runs: number;
  /** How often the bundle is loaded on a GPU. */
  loads: number;
  /** Called before each load, from 1. */
  onLoad?: (load: number) => void;
}

/** Any will do: nothing is scheduled on a GPU, and on the simulator nothing else wants it. */
const DEADLINE_NS = 1_000_000_000;
/** Units before those that count: clocks rise, caches fill. */
const WARM_UP_RUNS = 5;
const LEASE_NS = 3_600_000_000_000;
/** Virtual time moves on by this until a unit is done; more often than this means that it never is. */
const TICK_NS = 1_000_000;
const MOST_TICKS = 3_600_000;

/** Of one load. */
interface Load {
  criticalNs: number[];
  backgroundNs: number[];
  steps: LoadedStep[];
  seenBytes: { critical: number; background: number } | undefined;
  host: BenchReport["host"];
}

interface LoadedStep {
  report: StepReport;
  level: StepInfo["level"];
  untouchedNs: number | undefined;
  chosenNs: number | undefined;
  /** The longest of its launches, of which it has several at level `slice`. */
  launchNs: number;
  drainNs: number | undefined;
  workers: number;
  runBlocks: number;
}

/** Throws `InputError` for what does not fit the device, `EngineError` for the rest. */
export function benchBundle(options: BenchOptions): BenchReport {
  const { bundle, backend, preemptionBoundNs, runs } = options;
  // The simulator is the same each time.
  const loads = backend === "sim" ? 1 : options.loads;
  const done: Load[] = [];
  let device: DeviceInfo | undefined;
  for (let load = 1; load <= loads; load++) {
    options.onLoad?.(load);
    // All loads together make up the runs.
    const share = Math.ceil((runs * load) / loads) - Math.ceil((runs * (load - 1)) / loads);
    using engine = options.open();
    device ??= engine.device();
    done.push(backend === "cuda" ? measured(engine, options, share) : simulated(engine, options, share));
  }
  if (device === undefined) throw new Error("the bundle was not loaded");
  const { file } = pickModule(bundle, device.computeMajor, device.computeMinor);
  const kernels = options.reports.find((one) => one.file === file)?.kernels ?? [];
  const notes = bundle.sampleInput === undefined ? ["the bundle has no sample: its input was all zero"] : [];
  const seen = done[0]?.seenBytes;
  const need = (use: Parameters<typeof memoryNeed>[1], seenBytes: number | undefined) => {
    const { items, slots, copyBytes } = memoryNeed(bundle, use);
    return { items: [...items], slots, copyBytes, seenBytes: seenBytes ?? null };
  };
  return {
    format: REPORT_FORMAT,
    calypte: VERSION,
    bundle: bundle.manifest.name,
    digest: bundle.digestHex,
    backend,
    simulated: backend === "sim",
    device: device.name,
    driver: device.driver,
    preemptionBoundNs,
    runs,
    loads,
    unit: {
      critical: sure(quantilesOf(done.flatMap(({ criticalNs }) => criticalNs))),
      background: sure(quantilesOf(done.flatMap(({ backgroundNs }) => backgroundNs))),
    },
    host: done.at(-1)?.host ?? null,
    steps: stepsOf(done, kernels, options),
    memory: {
      critical: need({ kind: "critical", queueDepth: 1 }, seen?.critical),
      background: need({ kind: "background" }, seen?.background),
    },
    notes,
  };
}

function sure(quantiles: Quantiles | undefined): Quantiles {
  if (quantiles === undefined) throw new Error("no unit was run");
  return quantiles;
}

function settings(kind: WorkKind, name: string): WorkSettings {
  const common = { name, source: { kind: "api" as const }, keepOutput: false };
  if (kind === "background") return { ...common, kind };
  return {
    ...common,
    kind,
    deadlineNs: DEADLINE_NS,
    from: "arrival",
    queue: "latest",
    queueDepth: 1,
    onMiss: "publish-late",
    maxBlockingNs: 0,
    yield: "always",
    anticipate: false,
  };
}

function add(
  engine: Engine,
  options: BenchOptions,
  kind: WorkKind,
  name: string,
  prefer?: Prefer,
): LoadedWork {
  const { checkpoint, preemptionBoundNs, bundle } = options;
  const loader = new Loader({
    engine,
    checkpoint,
    preemptionBoundNs,
    ...(prefer === undefined ? {} : { prefer }),
  });
  return loader.add(settings(kind, name), bundle, undefined);
}

function inputOf({ sampleInput }: Bundle, work: LoadedWork): Uint8Array {
  return sampleInput ?? new Uint8Array(work.inputBytes);
}

function measured(engine: Engine, options: BenchOptions, runs: number): Load {
  const unitsNs = (kind: WorkKind, work: LoadedWork) => {
    const input = inputOf(options.bundle, work);
    const times = Array.from(
      { length: WARM_UP_RUNS + runs },
      () => engine.runOnce(kind, work.id, input).durationNs,
    );
    return times.slice(WARM_UP_RUNS);
  };
  const freeBytes = () => engine.device().memoryFreeBytes;
  const before = freeBytes();
  const critical = add(engine, options, "critical", "critical");
  const criticalNs = unitsNs("critical", critical);
  const between = freeBytes();
  const chosen = add(engine, options, "background", "background");
  const backgroundNs = unitsNs("background", chosen);
  const after = freeBytes();
  const untouched = add(engine, options, "background", "untouched", "whole");
  engine.runOnce("background", untouched.id, inputOf(options.bundle, untouched));
  const untouchedNs = infosOf(engine, untouched).map(sumNs);
  const steps = infosOf(engine, chosen).map((infos, index): LoadedStep => {
    const [info] = infos;
    const report = chosen.steps[index];
    if (info === undefined || report === undefined) throw new Error(`step ${index} was not loaded`);
    const { level, workers, runBlocks, blockDrainNs, loopDrainNs } = info;
    const drainNs = level === "loop" ? loopDrainNs : level === "block" ? blockDrainNs : 0;
    return {
      ...{ report, level, workers, runBlocks },
      untouchedNs: untouchedNs[index],
      chosenNs: sumNs(infos),
      launchNs: Math.max(...infos.map((info) => sumNs([info]) ?? 0)),
      drainNs: drainNs === 0 ? undefined : drainNs,
    };
  });
  engine.warmUp();
  const { runs: hostRuns, bestNs, p50Ns, worstNs } = engine.timing(critical.id);
  return {
    ...{ criticalNs, backgroundNs, steps },
    seenBytes: { critical: before - between, background: between - after },
    host: hostRuns === 0 ? null : { runs: hostRuns, bestNs, p50Ns, worstNs },
  };
}

/** Of each step its launches: more than one at level `slice`. */
function infosOf(engine: Engine, work: LoadedWork): StepInfo[][] {
  let launch = 0;
  return work.steps.map(({ launches }) =>
    Array.from({ length: launches }, () => engine.jobStep(work.id, launch++))
  );
}

function sumNs(infos: readonly StepInfo[]): number | undefined {
  const times = infos.map(({ level, loopNs, blockNs }) => level === "loop" ? loopNs : blockNs);
  return times.includes(0) ? undefined : times.reduce((sum, time) => sum + time, 0);
}

function simulated(engine: Engine, options: BenchOptions, runs: number): Load {
  const critical = add(engine, options, "critical", "critical");
  const background = add(engine, options, "background", "background");
  engine.ready();
  const entries = [{ job: background.id, weight: 1, maxUnits: 0 }];
  engine.setPlan({ id: 1, leaseNs: LEASE_NS, entries });
  const unitsNs = (kind: WorkKind, work: LoadedWork) => {
    const input = inputOf(options.bundle, work);
    const gpuNs = () => engine.snapshot().jobs.reduce((sum, job) => sum + totalGpuNs(job), 0);
    return Array.from({ length: runs }, () => {
      const beforeNs = gpuNs();
      if (engine.submit(kind, work.id, input, 0) === undefined) throw new Error(`no slot for a ${kind} unit`);
      for (let tick = 0; tick < MOST_TICKS; tick++) {
        engine.advance(engine.snapshot().nowNs + TICK_NS);
        const [result] = engine.takeResults();
        if (result === undefined) continue;
        engine.releaseResults(result.position);
        // The result of a unit does not say when it began.
        return kind === "critical" ? result.doneNs - result.startNs : gpuNs() - beforeNs;
      }
      throw new Error(`a ${kind} unit did not end within ${MOST_TICKS * TICK_NS / 1e9} s`);
    });
  };
  return {
    criticalNs: unitsNs("critical", critical),
    backgroundNs: unitsNs("background", background),
    steps: background.steps.map((report): LoadedStep => ({
      ...{ report, level: report.level, workers: 0, runBlocks: 0 },
      ...{ untouchedNs: undefined, chosenNs: undefined, launchNs: 0, drainNs: undefined },
    })),
    seenBytes: undefined,
    host: null,
  };
}

function stepsOf(
  done: readonly Load[],
  kernels: readonly KernelReport[],
  { bundle, preemptionBoundNs }: BenchOptions,
): StepBench[] {
  const first = done[0]?.steps ?? [];
  const { steps: declared } = bundle.manifest;
  // Uploads come first, and downloads last.
  const uploads = bundle.manifest.buffers.filter(({ role }) => role === "input").length;
  return first.map(({ report, level, workers, runBlocks }, index): StepBench => {
    const all = done.flatMap(({ steps }) => steps[index] ?? []);
    const step = declared[index - uploads];
    const kernel: KernelStep | undefined = step?.kind === "kernel" ? step : undefined;
    const found = kernels.find((one) => one.kernel === kernel?.kernel);
    const untouched = quantilesOf(all.flatMap((one) => one.untouchedNs ?? []));
    const chosen = quantilesOf(all.flatMap((one) => one.chosenNs ?? []));
    const drains = all.flatMap((one) => one.drainNs ?? []);
    const drainNs = drains.length === 0 ? null : Math.max(...drains);
    const holdsNs = drainNs ??
      (chosen === undefined ? undefined : Math.max(...all.map((one) => one.launchNs)));
    const levels: StepBench["levels"] = {};
    for (const one of all) levels[one.level] = (levels[one.level] ?? 0) + 1;
    const boundNs = (us: number | null | undefined) => us === null || us === undefined ? null : us * 1000;
    return {
      kernel: report.kernel,
      grid: kernel === undefined ? null : [...kernel.grid],
      block: kernel === undefined ? null : [...kernel.block],
      declaredNs: kernel?.estimateNs ?? 0,
      safeLevels: [...(found?.safeLevels ?? [])],
      reckonedBoundNs: {
        whole: null,
        slice: boundNs(found?.boundUs.slice),
        block: boundNs(found?.boundUs.block),
        loop: boundNs(found?.boundUs.loop),
      },
      ...{ level, levels, workers, runBlocks },
      untouched: untouched ?? null,
      chosen: chosen ?? null,
      cost: untouched === undefined || chosen === undefined ? null : chosen.p50Ns / untouched.p50Ns,
      drainNs,
      keepsBound: holdsNs === undefined ? null : holdsNs <= preemptionBoundNs,
      notes: [
        ...report.notes,
        ...(report.whyNoLoop === undefined ? [] : [`not at level loop: ${report.whyNoLoop}`]),
      ],
    };
  });
}
