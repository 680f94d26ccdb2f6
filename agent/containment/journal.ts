/**
 * What was loaded into an engine, so that it can be loaded into the next one?
 *
 * Holds each loading call in its order, with its arguments by reference (bundles and frames stay in memory for this).
 * Ids are counted from 0 (channels from 1) in the order of the calls, as calypte.h promises, so that an agent that finds an
 * engine running knows its ids by loading into the journal alone.
 */
import type { IsolatedJob, OutputRing, StepInfo, StepSpec, WorkKind, WorkSpec } from "../../ffi/engine.ts";
import type { PluginSpec } from "../../ffi/plugin.ts";
import type { NativeEngine } from "../../ffi/mod.ts";
import type { HostWorld } from "./connect.ts";

/** So long calls are made one behind the other: as long as the agent's shortest timer. */
const TURN_NS = 10_000_000;

type Counted = "module" | "kernel" | "buffer" | "plugin" | "frames" | "channel" | WorkKind;

interface Call {
  run(engine: NativeEngine): number | void;
  /** What it must return; `undefined`: nothing. */
  id: number | undefined;
}

export class LoadJournal {
  readonly #calls: Call[] = [];
  readonly #next: Record<Counted, number> = {
    module: 0,
    kernel: 0,
    buffer: 0,
    plugin: 0,
    frames: 0,
    channel: 1,
    critical: 0,
    background: 0,
  };
  readonly works: { spec: WorkSpec; id: number }[] = [];
  readonly #kernels = new Map<string, number>();
  readonly #levels = new Map<number, readonly StepInfo[]>();

  loadModule(ptx: string): number {
    return this.#add("module", (engine) => engine.loadModule(ptx));
  }

  kernel(module: number, name: string): number {
    const id = this.#add("kernel", (engine) => engine.kernel(module, name));
    this.#kernels.set(`${module} ${name}`, id);
    return id;
  }

  /** The id of a kernel that was asked for before: whether an engine gives it another one is the backend's affair. */
  knownKernel(module: number, name: string): number | undefined {
    return this.#kernels.get(`${module} ${name}`);
  }

  createBuffer(sizeBytes: number): number {
    return this.#add("buffer", (engine) => engine.createBuffer(sizeBytes));
  }

  writeBuffer(buffer: number, offset: number, data: Uint8Array): void {
    this.#calls.push({ run: (engine) => engine.writeBuffer(buffer, offset, data), id: undefined });
  }

  plugin(spec: PluginSpec): number {
    return this.#add("plugin", (engine) => engine.plugin(spec));
  }

  addFrames(data: Uint8Array, frameBytes: number, count: number): number {
    return this.#add("frames", (engine) => engine.addFrames(data, frameBytes, count));
  }

  socket(path: string): number {
    return this.#add("channel", (engine) => engine.socket(path));
  }

  ringInput(path: string): number {
    return this.#add("channel", (engine) => engine.ringInput(path));
  }

  external(path: string): number {
    return this.#add("channel", (engine) => engine.external(path));
  }

  ringOutput(ring: OutputRing): number {
    return this.#add("channel", (engine) => engine.ringOutput(ring));
  }

  addWork(spec: WorkSpec): number {
    const id = this.#add(spec.kind, (engine) => engine.addWork(this.#asFound(spec, id)));
    this.works.push({ spec, id });
    return id;
  }

  addIsolated(job: () => IsolatedJob, page: string): number {
    return this.#add("background", (engine) => engine.addIsolated(job(), page));
  }

  /** How a job's steps were found to run: the next engine takes them as they are, instead of measuring again. */
  settle(job: number, steps: readonly StepInfo[]): void {
    this.#levels.set(job, steps);
  }

  /** What `settle` was told of a job last. */
  settled(job: number): readonly StepInfo[] | undefined {
    return this.#levels.get(job);
  }

  /** The last call, now on an engine. Throws `EngineError`. */
  runLast(engine: NativeEngine): void {
    const call = this.#calls.at(-1);
    if (call !== undefined) run(call, engine);
  }

  /** Takes the last call back: the engine refused it. */
  forgetLast(kind: Counted | undefined): void {
    this.#calls.pop();
    if (kind === undefined) return;
    const id = --this.#next[kind];
    if (kind === "kernel") {
      for (const [key, known] of this.#kernels) if (known === id) this.#kernels.delete(key);
    }
    if (kind === "critical" || kind === "background") this.works.pop();
  }

  /**
   * All of it on a new engine, in the old order, which has critical work first. Timers get their turn between calls: plans of
   * an engine that serves meanwhile are made in time, and their lease does not end. Throws `EngineError`.
   */
  async replay(engine: NativeEngine, { nowNs, pause }: Pick<HostWorld, "nowNs" | "pause">): Promise<void> {
    let sinceNs = nowNs();
    for (const call of this.#calls) {
      run(call, engine);
      if (nowNs() < sinceNs + TURN_NS) continue;
      await pause(0);
      sinceNs = nowNs();
    }
  }

  #add(kind: Counted, call: (engine: NativeEngine) => number): number {
    const id = this.#next[kind]++;
    this.#calls.push({ run: call, id });
    return id;
  }

  #asFound(spec: WorkSpec, id: number): WorkSpec {
    const found = spec.kind === "background" ? this.#levels.get(id) : undefined;
    if (found === undefined || found.length !== spec.steps.length) return spec;
    return { ...spec, steps: spec.steps.map((step, index) => asFound(step, found[index])) };
  }
}

function asFound(step: StepSpec, found: StepInfo | undefined): StepSpec {
  const preemptible = found !== undefined && (found.level === "block" || found.level === "loop");
  if (!preemptible || found.workers === 0) return step;
  const { loopKernel, ...rest } = step;
  const { workers, periodSlots, runBlocks } = found;
  const kernel = found.level === "loop" ? loopKernel ?? step.kernel : step.kernel;
  return { ...rest, kernel, level: found.level, workers, periodSlots, runBlocks };
}

function run({ run, id }: Call, engine: NativeEngine): void {
  const given = run(engine);
  if (id !== undefined && given !== id) {
    throw new Error(`the engine gave id ${given} where ${id} was to come`);
  }
}
