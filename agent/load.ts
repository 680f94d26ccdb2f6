/**
 * How does a bundle become work of the engine?
 *
 * The only place that knows: picks the module for the device, allocates and fills buffers, has background kernels
 * rewritten to level `block` where that is proven safe, and turns copies, memsets, uploads and downloads into kernels. It
 * reads no files and starts nothing: all of it happens before `engine.ready()`.
 */
import type { ExternalSource } from "./external_task.ts";
import type {
  ArgSpec,
  CriticalSpec,
  Engine,
  IoSpec,
  SourceSpec,
  StepSpec,
  WorkKind,
  WorkSpec,
} from "../ffi/engine.ts";
import { CONSTANTS } from "../ffi/abi.ts";
import { EngineError } from "../ffi/errors.ts";
import type { PluginInfo } from "../ffi/plugin.ts";
import {
  BUILTIN_KERNELS,
  builtinPtx,
  type BuiltinStep,
  copyStep,
  downloadStep,
  fillStep,
  uploadStep,
} from "./builtin.ts";
import {
  type BlobLayout,
  type Bundle,
  checkKernels,
  inputLayout,
  type KernelStep,
  outputLayout,
  pickModule,
} from "./bundle.ts";
import type { CheckpointCompiler } from "./checkpoint.ts";
import { InputError } from "./errors.ts";
import type { Frames } from "./frames.ts";
import { loadPlugin } from "./load_plugin.ts";
import { KernelLoader, type LoadedKernel, type Shape } from "./kernels.ts";
import { needsMemory } from "./memory.ts";
import { overlapsOf } from "./overlaps.ts";
import { divisionBy } from "../ptx/mod.ts";
import { formatDurationNs } from "./quantity.ts";

/** CALYPTE_MAX_STEPS in calypte.h. */
const MAX_STEPS = 1024;

/** One step as it was loaded, for the status and for people. */
export interface StepReport {
  kernel: string;
  /** As loaded; whether a step at `block` that may run at `loop` does, the engine says once it is ready. */
  level: "whole" | "slice" | "block" | "loop";
  /** Launches of one unit; more than 1 only at level `slice`. */
  launches: number;
  /** Why not at a higher level, or what to know about it; empty: nothing. */
  notes: readonly string[];
  /** Resident blocks per SM, as loaded and before rewriting. */
  blocksPerSm: number;
  blocksPerSmUntouched: number;
  /** Why a block of it cannot be left half-way; absent: it can, or nobody asked. */
  whyNoLoop?: string;
  /** From here on known once the engine is ready, at levels `block` and `loop`: resident blocks. */
  workers?: number;
  /** Consecutive blocks that a worker runs between two looks at the gate. */
  runBlocks?: number;
  /** Longest time seen from closing the gate to the last worker gone; 0: not measured, as it ends soon by itself. */
  drainNs?: number;
  /** Level `loop`: so long a block of it lasts, as it was seen leaving behind its blocks only; absent: not measured. */
  blockLastsNs?: number;
}

export interface LoadedWork {
  kind: WorkKind;
  /** From 0 for each kind. */
  id: number;
  name: string;
  bundle: Bundle;
  inputBytes: number;
  outputBytes: number;
  frames: Frames | undefined;
  steps: readonly StepReport[];
  /** Of the library that does its work, if one does. */
  plugin?: PluginInfo;
}

/** What the mission says about a work, beside its bundle. */
export type WorkSettings =
  & {
    name: string;
    source:
      | { kind: "none" }
      | { kind: "api" }
      | { kind: "frames"; periodNs: number }
      | { kind: "socket" | "ring"; path: string; periodNs: number }
      | ExternalSource;
    keepOutput: boolean;
    /** A ring that the engine writes outputs into. */
    outputRing?: { file: string; slots: number; expiryNs: number };
  }
  & (
    | { kind: "background" }
    | Pick<
      CriticalSpec,
      | "kind"
      | "deadlineNs"
      | "from"
      | "queue"
      | "queueDepth"
      | "onMiss"
      | "maxBlockingNs"
      | "yield"
      | "anticipate"
    >
  );

export interface LoaderOptions {
  engine: Engine;
  checkpoint: CheckpointCompiler;
  /** How long background may keep the GPU after the gate has closed; blocks known to be longer are noted. */
  preemptionBoundNs: number;
  /**
   * `measured`: the cheapest level that keeps the bound, as the engine finds it; `loop`, `block`: that level where it is
   * safe, `whole`: all of the bundle's kernels as they are, for benchmarks. Default `measured`.
   */
  prefer?: Prefer;
}

export type Prefer = "measured" | "loop" | "block" | "whole";

export class Loader {
  readonly #engine: Engine;
  readonly #options: LoaderOptions;
  readonly #kernels: KernelLoader;
  readonly #frameIds = new Map<Frames, number>();

  constructor(options: LoaderOptions) {
    this.#engine = options.engine;
    this.#options = options;
    this.#kernels = new KernelLoader(options.engine, options.checkpoint);
  }

  /** Adds one task or job. Throws `InputError` for what it asks in vain, memory included; `EngineError` for the rest. */
  add(settings: WorkSettings, bundle: Bundle, frames: Frames | undefined): LoadedWork {
    const { manifest, digest } = bundle;
    const inputs = inputLayout(manifest);
    const outputs = outputLayout(manifest);
    const kernels = needsMemory(
      { file: bundle.file, field: "modules" },
      `the code of work ${settings.name}`,
      () => this.#loadKernels(settings.kind, bundle),
    );
    const buffers = this.#createBuffers(settings.name, bundle);
    const plugin = loadPlugin(this.#engine, settings.kind, bundle, buffers);
    const { before, steps, behind } = planSteps(settings.kind, bundle, buffers, inputs, outputs);
    const planned = before.length + steps.length + behind.length;
    if (planned > MAX_STEPS) {
      const rule = `must be at most ${MAX_STEPS} with uploads and downloads, not ${planned}`;
      throw new InputError({ file: bundle.file, field: "steps", rule });
    }
    const finish = (steps: readonly PlannedStep[]) =>
      steps.flatMap((step) => this.#finish(step, settings.kind, kernels));
    const loaded = [...finish(before), ...plugin?.steps ?? finish(steps), ...finish(behind)];
    if (loaded.length > MAX_STEPS) {
      const rule = `must be at most ${MAX_STEPS} launches with slices, not ${loaded.length}`;
      throw new InputError({ file: bundle.file, field: "steps", rule });
    }
    const common = {
      name: settings.name,
      digest,
      steps: loaded.map(({ spec }) => spec),
      inputs: ioSpecs(inputs, buffers),
      outputs: ioSpecs(outputs, buffers),
      inputBytes: inputs.sizeBytes,
      outputBytes: outputs.sizeBytes,
      source: this.#source(settings, frames),
      ...this.#outputChannel(settings, outputs.sizeBytes),
      keepOutput: settings.keepOutput,
      estimateNs: settings.source.kind === "external" ? settings.source.executionNs : 0,
    };
    const { preemptionBoundNs } = this.#options;
    const bound = Number.isFinite(preemptionBoundNs) ? preemptionBoundNs : 0;
    const spec: WorkSpec = settings.kind === "background"
      ? { ...common, kind: "background", preemptionBoundNs: bound }
      : {
        ...common,
        kind: "critical",
        deadlineNs: settings.deadlineNs,
        from: settings.from,
        queue: settings.queue,
        queueDepth: settings.queueDepth,
        onMiss: settings.onMiss,
        maxBlockingNs: settings.maxBlockingNs,
        yield: settings.yield,
        anticipate: settings.anticipate,
      };
    return {
      kind: settings.kind,
      id: needsMemory(
        { file: bundle.file, field: "" },
        `work ${settings.name}`,
        () => this.#engine.addWork(spec),
      ),
      name: settings.name,
      bundle,
      inputBytes: inputs.sizeBytes,
      outputBytes: outputs.sizeBytes,
      frames,
      steps: [...new Set(loaded.map(({ report }) => report))],
      ...(plugin === undefined ? {} : { plugin: plugin.info }),
    };
  }

  #loadKernels(kind: WorkKind, bundle: Bundle): ReadonlyMap<string, LoadedKernel> {
    if (bundle.manifest.steps.length === 0) return new Map(); // another process or a plugin has the code
    const { computeMajor, computeMinor } = this.#engine.device();
    const module = pickModule(bundle, computeMajor, computeMinor);
    const file = `${bundle.dir}/${module.file}`;
    checkKernels(bundle, this.#options.checkpoint.params(module.text, file));
    const shapes = new Map<string, Shape[]>();
    for (const step of bundle.manifest.steps) {
      if (step.kind === "kernel") shapes.set(step.kernel, [...shapes.get(step.kernel) ?? [], shapeOf(step)]);
    }
    const { prefer = "measured" } = this.#options;
    const use = { shapes, overlaps: overlapsOf(bundle.manifest.steps), loops: prefer !== "block" };
    const rewritten = kind === "background" && prefer !== "whole";
    const kernels = this.#kernels.load(module.text, file, shapes, rewritten ? use : undefined);
    for (const [i, step] of bundle.manifest.steps.entries()) {
      if (step.kind === "kernel") this.#checkFits(bundle, `steps[${i}]`, step, kernels);
    }
    return kernels;
  }

  #checkFits(
    bundle: Bundle,
    field: string,
    step: KernelStep,
    kernels: ReadonlyMap<string, LoadedKernel>,
  ): void {
    const kernel = kernels.get(step.kernel);
    const { threads, sharedBytes } = shapeOf(step);
    if (kernel === undefined || this.#kernels.untouchedBlocksPerSm(kernel, shapeOf(step)) > 0) {
      return;
    }
    const rule =
      `must fit the device: a block of ${threads} threads with ${sharedBytes} bytes of shared memory does not`;
    throw new InputError({
      file: bundle.file,
      field,
      rule,
      remedy: "use smaller blocks or less shared memory",
    });
  }

  #createBuffers(work: string, bundle: Bundle): Map<string, number> {
    const ids = new Map<string, number>();
    for (const [i, { name, sizeBytes }] of bundle.manifest.buffers.entries()) {
      const where = { file: bundle.file, field: `buffers[${i}]` };
      const what = `buffer ${name} of work ${work} (${sizeBytes} bytes)`;
      const id = needsMemory(where, what, () => this.#engine.createBuffer(sizeBytes));
      ids.set(name, id);
      const weight = bundle.weights.get(name);
      if (weight !== undefined) this.#engine.writeBuffer(id, 0, weight);
    }
    return ids;
  }

  /** The launches of one step: several at level `slice`. */
  #finish(
    step: PlannedStep,
    kind: WorkKind,
    kernels: ReadonlyMap<string, LoadedKernel>,
  ): { spec: StepSpec; report: StepReport }[] {
    const builtin = "builtin" in step;
    const name = builtin ? step.builtin : step.kernelName;
    const kernel = builtin ? this.#builtins(kind).get(name) : kernels.get(name);
    if (kernel === undefined) throw new Error(`kernel ${name} was not loaded`);
    const { grid, block, sharedBytes, workers, args, estimateNs, blockEstimateNs } = step;
    const { loopId } = kernel;
    const loops = this.#options.prefer === "loop" && loopId !== undefined;
    const level: StepReport["level"] = loops ? "loop" : kernel.level;
    const shape = { threads: block[0] * block[1] * block[2], threadsX: block[0], sharedBytes };
    const notes = [...kernel.notes];
    const blocksPerSm = this.#kernels.blocksPerSm(kernel, shape);
    const blocksPerSmUntouched = this.#kernels.untouchedBlocksPerSm(kernel, shape);
    if (blocksPerSm < blocksPerSmUntouched) {
      notes.push(
        `rewriting cost occupancy: ${blocksPerSm} instead of ${blocksPerSmUntouched} resident blocks per SM`,
      );
    }
    const { preemptionBoundNs } = this.#options;
    if (level === "block" && loopId === undefined && blockEstimateNs > preemptionBoundNs) {
      const [takes, bound] = [formatDurationNs(blockEstimateNs), formatDurationNs(preemptionBoundNs)];
      const why = kernel.whyNoLoop === undefined ? "" : `; it cannot be left within one: ${kernel.whyNoLoop}`;
      notes.push(`one block is declared to take ${takes}, longer than preemptionBound ${bound}${why}`);
    }
    const spec: StepSpec = {
      kernel: loops ? loopId : kernel.id,
      level,
      ...(loops || loopId === undefined ? {} : { loopKernel: loopId }),
      grid,
      block,
      sharedBytes,
      workers,
      args,
      estimateNs,
      blockEstimateNs,
    };
    const specs = level === "slice"
      ? slicesOf(spec, blocksPerSm * this.#engine.device().sms, preemptionBoundNs)
      : [spec];
    const report: StepReport = {
      ...{ kernel: name, level, launches: specs.length, notes, blocksPerSm, blocksPerSmUntouched },
      ...(kernel.whyNoLoop === undefined ? {} : { whyNoLoop: kernel.whyNoLoop }),
    };
    return specs.map((one) => ({ spec: one, report }));
  }

  #builtins(kind: WorkKind): ReadonlyMap<string, LoadedKernel> {
    const shapes = new Map(
      BUILTIN_KERNELS.map((name) => [name, [{ threads: 256, threadsX: 256, sharedBytes: 0 }]]),
    );
    const use = { shapes, overlaps: new Map(), loops: false };
    return this.#kernels.load(builtinPtx(), "builtin.ptx", shapes, kind === "background" ? use : undefined);
  }

  #outputChannel({ kind, name, outputRing }: WorkSettings, slotBytes: number): { outputChannel?: number } {
    if (outputRing === undefined) return {};
    const { file: path, slots, expiryNs } = outputRing;
    const make = () => this.#engine.ringOutput({ path, slots, slotBytes, expiryNs });
    return { outputChannel: opened(`${kind}.${name}.output`, path, make) };
  }

  #source(settings: WorkSettings, frames: Frames | undefined): SourceSpec {
    const { source } = settings;
    if (source.kind === "none") return { kind: "none", periodNs: 0, phaseNs: 0 };
    if (source.kind === "api") return { kind: "api" };
    if ("path" in source) {
      const { kind, path, periodNs } = source;
      const engine = this.#engine;
      const open = {
        socket: () => engine.socket(path),
        ring: () => engine.ringInput(path),
        external: () => engine.external(path),
      }[kind];
      const field = `critical.${settings.name}.${kind === "external" ? kind : "source"}`;
      return { kind, channel: opened(field, path, open), periodNs };
    }
    if (frames === undefined) throw new Error(`${settings.name} has no frames`);
    let id = this.#frameIds.get(frames);
    if (id === undefined) {
      const { dir, data, frameBytes, count } = frames;
      const what = `the ${count} frames of work ${settings.name} (${data.byteLength} bytes)`;
      id = needsMemory({ file: dir, field: "" }, what, () => this.#engine.addFrames(data, frameBytes, count));
      this.#frameIds.set(frames, id);
    }
    return { kind: "frames", frames: id, periodNs: source.periodNs, phaseNs: 0 };
  }
}

/** A path that the engine refuses is a fault of the mission. */
function opened(field: string, file: string, open: () => number): number {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const rule = `must be a place for it: ${error.reason}`;
    const remedy = error.code === CONSTANTS.E_STATE
      ? "use calypte run, which simulates in real time"
      : undefined;
    throw new InputError({ file, field, rule, ...(remedy === undefined ? {} : { remedy }) }, {
      cause: error,
    });
  }
}

/** Of one launch in a hundred the host's part would be the larger one. */
const MOST_SLICES = 64;

/** Ranges of a grid, as long as the bound allows by the step's estimate, and not less than what is resident at a time. */
function slicesOf(step: StepSpec, residentBlocks: number, boundNs: number): StepSpec[] {
  const [x, y, z] = step.grid;
  const total = x * y * z;
  const withinBound = step.estimateNs === 0
    ? 0
    : Math.min(total, Math.floor(total * boundNs / step.estimateNs));
  const count = Math.max(residentBlocks, withinBound, Math.ceil(total / MOST_SLICES), 1);
  const slices: StepSpec[] = [];
  for (let first = 0; first < total; first += count) {
    const blocks = Math.min(count, total - first);
    const divisions = [divisionBy(x), divisionBy(y)].flatMap(({ magic, shift }) => [magic, shift]);
    const own = [first, x, y, z, total, ...divisions].map((value): ArgSpec => ({
      kind: "scalar",
      bytes: u32Bytes(value),
    }));
    const estimateNs = Math.ceil(step.estimateNs * blocks / total);
    slices.push({ ...step, grid: [blocks, 1, 1], args: [...step.args, ...own], estimateNs });
  }
  return slices;
}

function u32Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

type PlannedStep = BuiltinStep | (Omit<StepSpec, "kernel" | "level"> & { kernelName: string });

/** The launches of one request or unit, in order. The engine itself moves the input and output of critical work. */
function planSteps(
  kind: WorkKind,
  bundle: Bundle,
  buffers: ReadonlyMap<string, number>,
  inputs: BlobLayout,
  outputs: BlobLayout,
): { before: PlannedStep[]; steps: PlannedStep[]; behind: PlannedStep[] } {
  const place = (name: string, offsetBytes = 0) => ({ buffer: idOf(buffers, name), offsetBytes });
  const steps = bundle.manifest.steps.map((step): PlannedStep => {
    switch (step.kind) {
      case "memset":
        return fillStep(place(step.buffer, step.offsetBytes), step.value, step.sizeBytes);
      case "copy": {
        const { from, to, sizeBytes } = step;
        return copyStep(place(to.buffer, to.offsetBytes), place(from.buffer, from.offsetBytes), sizeBytes);
      }
      case "kernel": {
        const { kernel, grid, block, sharedBytes, estimateNs, blockEstimateNs } = step;
        const args = step.args.map((arg): ArgSpec =>
          arg.kind === "buffer"
            ? { kind: "buffer", buffer: idOf(buffers, arg.buffer), offset: arg.offsetBytes }
            : { kind: "scalar", bytes: arg.bytes }
        );
        return {
          kernelName: kernel,
          grid,
          block,
          sharedBytes,
          workers: 0,
          args,
          estimateNs,
          blockEstimateNs,
        };
      }
    }
  });
  if (kind === "critical") return { before: [], steps, behind: [] };
  const { entries: uploads } = inputs;
  const { entries: downloads } = outputs;
  return {
    before: uploads.map(({ name, offset, sizeBytes }) => uploadStep(place(name), offset, sizeBytes)),
    steps,
    behind: downloads.map(({ name, offset, sizeBytes }) => downloadStep(place(name), offset, sizeBytes)),
  };
}

function ioSpecs(layout: BlobLayout, buffers: ReadonlyMap<string, number>): IoSpec[] {
  return layout.entries.map(({ name, offset, sizeBytes }) => ({
    buffer: idOf(buffers, name),
    offset,
    sizeBytes,
  }));
}

function idOf(buffers: ReadonlyMap<string, number>, name: string): number {
  const id = buffers.get(name);
  if (id === undefined) throw new Error(`buffer ${name} was not created`);
  return id;
}

function shapeOf({ block, sharedBytes }: KernelStep): Shape {
  return { threads: block[0] * block[1] * block[2], threadsX: block[0], sharedBytes };
}
