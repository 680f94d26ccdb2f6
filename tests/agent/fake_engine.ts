/**
 * An engine without a GPU and without a scheduler: it keeps what it is told and answers what the test set. Ids count
 * up from 0 for each kind, as the real one's do.
 */
import type { PluginInfo, PluginSpec, PluginStep } from "../../ffi/plugin.ts";
import type { PlannedJob } from "../../agent/policy_snapshot.ts";
import type {
  Backend,
  DeviceInfo,
  Engine,
  EngineEvent,
  EngineSnapshot,
  Feature,
  JobStats,
  KernelInfo,
  OutputRing,
  Plan,
  Result,
  StepInfo,
  TaskStats,
  Timing,
  WorkKind,
  WorkSpec,
} from "../../ffi/engine.ts";
import { EngineError } from "../../ffi/errors.ts";
import type { TracePart, TraceRecord } from "../../ffi/trace.ts";
import type { SafeModeRule } from "../../ffi/safe_mode.ts";
import { emptyHistogram } from "../../ffi/histogram.ts";

export function taskStats(change: Partial<TaskStats> = {}): TaskStats {
  return {
    requests: 0,
    onTime: 0,
    late: 0,
    dropped: 0,
    failed: 0,
    waiting: 0,
    inFlight: 0,
    missRun: 0,
    longestMissRun: 0,
    busyNs: 0,
    nextArrivalNs: 0,
    worstExecutionNs: 0,
    executionP50Ns: 0,
    executionP99Ns: 0,
    periodNs: 0,
    jitterNs: 0,
    marginNs: 0,
    anticipated: 0,
    wrongGuesses: 0,
    aheadNs: 0,
    deferred: 0,
    deferredNs: 0,
    response: emptyHistogram(),
    ...change,
  };
}

export function jobStats(change: Partial<JobStats> = {}): JobStats {
  return {
    units: 0,
    readyUnits: 0,
    step: 0,
    entries: 0,
    preemptions: 0,
    leaves: 0,
    skippedEntries: 0,
    wholeLaunches: 0,
    gpuNs: { whole: 0, slice: 0, block: 0, loop: 0 },
    unitNs: 0,
    abandoned: 0,
    drainP99Ns: 0,
    outstanding: 0,
    worker: "none",
    workerKills: 0,
    ...change,
  };
}

export function plannedJob(id: number, change: Partial<PlannedJob> = {}): PlannedJob {
  return { id, name: `job-${id}`, weight: 1, endless: true, deadlineNs: 0, when: [], steps: 1, ...change };
}

export function snapshotOf(change: Partial<EngineSnapshot> = {}): EngineSnapshot {
  return {
    nowNs: 0,
    readyNs: 0,
    state: "ready",
    backend: "sim",
    planId: 0,
    leaseEndNs: 0,
    holds: [],
    entriesAhead: 0,
    leaseExpired: 0,
    safeMode: 0,
    safeModeReasons: [],
    safeModeMisses: 0,
    safeModeSinceNs: 0,
    safeModeNs: 0,
    safeModeUntilNs: 0,
    criticalBusyNs: 0,
    backgroundBusyNs: 0,
    aheadNs: 0,
    clockKey: 0,
    windowEndNs: 0,
    eventsLost: 0,
    dispatcherSteps: 0,
    dispatcherWorstNs: 0,
    tasks: [],
    jobs: [],
    ...change,
  };
}

export function resultOf(change: Partial<Result> = {}): Result {
  return {
    kind: "background",
    work: 0,
    number: 0,
    frameSeq: 0,
    frameIndex: 0,
    sensorNs: 0,
    arrivalNs: 0,
    startNs: 0,
    doneNs: 0,
    deadlineNs: 0,
    digest: 0n,
    complete: true,
    late: false,
    dropped: false,
    failed: false,
    simulated: false,
    payload: new Uint8Array(),
    position: 0,
    ...change,
  };
}

/** Methods whose next call throws this instead. */
export type Failures = Partial<Record<keyof Engine, EngineError>>;

export class FakeEngine implements Engine {
  backend: Backend = "sim";
  state = snapshotOf({ state: "loading" });
  /** Names of the calls that change something, in order. */
  readonly calls: string[] = [];
  readonly plans: Plan[] = [];
  readonly works: WorkSpec[] = [];
  readonly modules: string[] = [];
  readonly kernels: { module: number; name: string }[] = [];
  readonly buffers: { sizeBytes: number; data: Uint8Array | undefined }[] = [];
  readonly plugins: PluginSpec[] = [];
  /** Of each plugin. */
  pluginInfos: PluginInfo = {
    name: "fake plugin",
    stepCount: 3,
    captured: true,
    reason: "",
    nodeCount: 3,
    kernels: 3,
    copies: 0,
    memsets: 0,
    captures: 1,
    longestNs: 3000,
    totalNs: 6000,
  };
  readonly frames: { data: Uint8Array; frameBytes: number; count: number }[] = [];
  readonly failures: Failures = {};
  readonly stepInfos = new Map<string, StepInfo>();
  /** By task. */
  readonly timings: Timing[] = [];
  readonly submitted: Uint8Array[] = [];
  /** By channel, less 1. */
  readonly channels: (string | OutputRing)[] = [];
  results: Result[] = [];
  events: EngineEvent[] = [];
  /** By kernel id; 8 unless set. */
  readonly blocksPerSm = new Map<number, number>();
  closed = false;

  device(): DeviceInfo {
    return {
      name: "fake",
      driver: "",
      backend: this.backend,
      sms: 4,
      computeMajor: 8,
      computeMinor: 7,
      memoryBytes: 2 ** 30,
      memoryFreeBytes: 2 ** 30,
      threadsPerSm: 1536,
      sharedPerBlockOptinBytes: 100_000,
      clockKhz: 0,
      copyEngines: 1,
      ptxVersion: 85,
    };
  }
  features(): Feature[] {
    return [{ name: "stream-memops", on: true, reason: "" }];
  }
  loadModule(ptx: string): number {
    this.#call("loadModule");
    return this.modules.push(ptx) - 1;
  }
  kernel(module: number, name: string): number {
    return this.kernels.push({ module, name }) - 1;
  }
  kernelInfo(kernel: number): KernelInfo {
    return {
      registers: 32,
      localBytes: 0,
      staticSharedBytes: 0,
      maxThreadsPerBlock: 1024,
      blocksPerSm: this.blocksPerSm.get(kernel) ?? 8,
      paramCount: undefined,
    };
  }
  createBuffer(sizeBytes: number): number {
    return this.buffers.push({ sizeBytes, data: undefined }) - 1;
  }
  writeBuffer(buffer: number, _offset: number, data: Uint8Array): void {
    this.buffers[buffer]!.data = data.slice();
  }
  readBuffer(_buffer: number, _offset: number, sizeBytes: number): Uint8Array {
    return new Uint8Array(sizeBytes);
  }
  plugin(spec: PluginSpec): number {
    this.#call("plugin");
    return this.plugins.push(spec) - 1;
  }
  pluginInfo(): PluginInfo {
    return this.pluginInfos;
  }
  pluginStep(plugin: number, step: number): PluginStep {
    return {
      kernel: 2 ** 30 + plugin * 2048 + step,
      nodeCount: 1,
      grid: [8, 1, 1],
      block: [128, 1, 1],
      sharedBytes: 0,
      estimateNs: 1000 * (step + 1),
      name: `kernel_${step}`,
    };
  }
  addFrames(data: Uint8Array, frameBytes: number, count: number): number {
    return this.frames.push({ data, frameBytes, count }) - 1;
  }
  socket(path: string): number {
    this.#call("socket");
    return this.channels.push(path);
  }
  ringInput(path: string): number {
    this.#call("ringInput");
    return this.channels.push(path);
  }
  external(path: string): number {
    this.#call("external");
    return this.channels.push(path);
  }
  ringOutput(ring: OutputRing): number {
    this.#call("ringOutput");
    return this.channels.push(ring);
  }
  addWork(spec: WorkSpec): number {
    this.#call("addWork");
    const id = this.works.filter(({ kind }) => kind === spec.kind).length;
    this.works.push(spec);
    if (spec.kind === "critical") this.state.tasks.push(taskStats());
    else this.state.jobs.push(jobStats());
    return id;
  }
  runOnce(): { output: Uint8Array; durationNs: number } {
    return { output: new Uint8Array(), durationNs: 0 };
  }
  jobStep(job: number, step: number): StepInfo {
    const level = this.works[job]?.steps[step]?.level ?? "block";
    const none = {
      workers: 0,
      periodSlots: 0,
      runBlocks: 0,
      blockNs: 0,
      loopNs: 0,
      blockDrainNs: 0,
      loopDrainNs: 0,
    };
    return this.stepInfos.get(`${job} ${step}`) ?? { level, ...none };
  }
  checkSurplus(): number {
    return 0;
  }
  warmUp(): void {
    this.#call("warmUp");
  }
  timing(task: number): Timing {
    this.#check("timing");
    return this.timings[task] ?? { runs: 0, bestNs: 0, p50Ns: 0, worstNs: 0 };
  }
  learned = new Uint8Array();
  takeLearned(): Uint8Array {
    this.#check("takeLearned");
    return this.learned;
  }
  giveLearned(bytes: Uint8Array): number {
    this.#call("giveLearned");
    this.learned = bytes.slice();
    return this.works.length;
  }
  setClocks(key: number): void {
    this.#call(`setClocks ${key}`);
    this.state.clockKey = key;
  }
  ready(): void {
    this.#call("ready");
    this.state.state = "ready";
  }
  isolatedOf(): Uint8Array {
    this.#check("isolatedOf");
    return new Uint8Array(8);
  }
  addIsolated(): number {
    this.#check("addIsolated");
    return 0;
  }
  admit(): void {
    this.#check("admit");
  }
  join(): void {
    this.#check("join");
  }
  setPlan(plan: Plan): void {
    this.#call("setPlan");
    this.plans.push(plan);
    this.state.planId = plan.id;
    this.state.leaseEndNs = this.state.nowNs + plan.leaseNs;
  }
  hold(reason: "caller" | "safe-mode", on: boolean): void {
    this.#call(`hold ${reason} ${on}`);
    if (reason !== "safe-mode") return;
    const others = this.state.safeModeReasons.filter((each) => each !== "caller");
    this.state.safeModeReasons = on ? [...others, "caller"] : others;
  }
  safeModeRule: SafeModeRule | undefined;
  setSafeMode(rule: SafeModeRule | undefined): void {
    this.#call("setSafeMode");
    this.safeModeRule = rule;
  }
  submit(_kind: WorkKind, _work: number, input: Uint8Array): number | undefined {
    this.#call("submit");
    return this.submitted.push(input) - 1;
  }
  takeResults(): Result[] {
    this.#check("takeResults");
    return this.results.splice(0);
  }
  /** Positions, in the order in which they were released. */
  readonly released: number[] = [];
  releaseResults(position: number): void {
    this.#check("releaseResults");
    this.released.push(position);
  }
  retakeResults(): void {
    this.#check("retakeResults");
  }
  dropResults(): number {
    return this.takeResults().length;
  }
  takeEvents(): EngineEvent[] {
    this.#check("takeEvents");
    return this.events.splice(0);
  }
  /** All that was recorded. */
  readonly trace: TraceRecord[] = [];
  takeTrace(from: number): TracePart {
    this.#check("takeTrace");
    return { records: this.trace.slice(from), next: this.trace.length, lost: 0 };
  }
  snapshot(): EngineSnapshot {
    this.#check("snapshot");
    return structuredClone(this.state);
  }
  advance(untilNs: number): void {
    this.state.nowNs = untilNs;
  }
  replayDurations(kind: WorkKind, work: number, timesNs: BigUint64Array): void {
    this.#call(`replayDurations ${kind} ${work} ${timesNs.length}`);
  }
  replayArrivals(task: number, timesNs: BigUint64Array): void {
    this.#call(`replayArrivals ${task} ${timesNs.length}`);
  }
  close(): void {
    if (!this.closed) this.calls.push("close");
    this.closed = true;
  }
  [Symbol.dispose](): void {
    this.close();
  }

  #call(name: string): void {
    this.#check(name.split(" ")[0] as keyof Engine);
    this.calls.push(name);
  }

  #check(method: keyof Engine): void {
    if (this.closed) throw new EngineError(-2, String(method), "the engine is closed");
    const failure = this.failures[method];
    if (failure !== undefined) throw failure;
  }
}
