/**
 * What is an engine, to the rest of the agent?
 *
 * The interface that the agent programs against. All that crosses it is plain data, so that it does not tell
 * whether the engine lives in this process or in another. `ffi/native_engine.ts` implements it over the native
 * library; nothing outside `ffi/` knows the library itself.
 *
 * Times are nanoseconds of the monotonic clock (virtual time for a virtual clock) as `number`: exact for 104 days
 * of uptime. Every method throws `EngineError`; after `close()` every method throws `EngineError` with code -2.
 */

import type { PluginCalls } from "./plugin.ts";
import type { TracePart } from "./trace.ts";
import type { SimFaults, SimProfile } from "./sim_options.ts";
import type { SafeModeRule, SafeModeState } from "./safe_mode.ts";

export type Backend = "cuda" | "sim";
export type WorkKind = "critical" | "background";
export type Level = "whole" | "slice" | "block" | "loop";
export const LEVELS: readonly Level[] = ["whole", "slice", "block", "loop"];

export type { SimFaults, SimProfile } from "./sim_options.ts";

export interface OpenOptions {
  backend: Backend;
  /** `virtual` only with `sim`: time moves only inside `advance`. Default `real`. */
  clock?: "real" | "virtual";
  deviceIndex?: number;
  /** Features to switch off, to test a fall-back; empty in production. */
  disableFeatures?: readonly FeatureName[];
  /** Seed of all the simulator's randomness. Default 1. */
  seed?: number;
  /** SMs of the simulator's virtual GPU. Default 16. */
  simSms?: number;
  /** The engine holds one background job for another engine. Default false. */
  worker?: boolean;
  /** Bytes of results kept until taken. Default 16 MiB. */
  resultsBytes?: number;
  /** SMs that background never uses, rounded up to what the device can split off. Default 0: none. */
  reserveSms?: number;
  /** `ready` locks the memory of this whole process, V8's too, where the system lets it; `features` says. Default: no. */
  lockMemory?: boolean;
  /** `sim`: the times of a device; default: the library's own, which are an H200's. */
  simProfile?: SimProfile;
  /** `sim`: what goes wrong; default: nothing. */
  simFaults?: Partial<SimFaults>;
}

export interface DeviceInfo {
  name: string;
  driver: string;
  backend: Backend;
  sms: number;
  computeMajor: number;
  computeMinor: number;
  memoryBytes: number;
  memoryFreeBytes: number;
  threadsPerSm: number;
  sharedPerBlockOptinBytes: number;
  clockKhz: number;
  copyEngines: number;
  /** Newest PTX version that the driver takes, 85 for 8.5; 0: unknown. */
  ptxVersion: number;
}

/** In the order of CALYPTE_FEATURE_*. */
export const FEATURE_NAMES = [
  "stream-memops",
  "graph-memops",
  "parked-resume",
  "stream-priority",
  "mapped-host",
  "integrated",
  "ipc",
  "realtime",
  "locked-memory",
  "reserved-sms",
] as const;
export type FeatureName = typeof FEATURE_NAMES[number];

/** One probed or self-tested feature; one that is off says why. */
export interface Feature {
  name: FeatureName;
  on: boolean;
  reason: string;
}

export interface KernelInfo {
  registers: number;
  localBytes: number;
  staticSharedBytes: number;
  maxThreadsPerBlock: number;
  /** Resident blocks per SM at the shape asked for; 0: does not fit. */
  blocksPerSm: number;
  /** `undefined`: the driver cannot tell. */
  paramCount: number | undefined;
}

export type ArgSpec =
  | { kind: "scalar"; bytes: Uint8Array }
  | { kind: "buffer"; buffer: number; offset: number }
  | { kind: "control" | "input-slots" | "output-slots" | "slot-count" };

export interface StepSpec {
  /** Id from `kernel()`. */
  kernel: number;
  level: Level;
  /** The same kernel at level `loop`, for a step at level `block`: the engine takes the one that keeps the bound. */
  loopKernel?: number;
  /** Issue slots between two reads of the gate at level `loop`; absent: found at load. */
  periodSlots?: number;
  /** With `workers`: consecutive blocks that a worker runs between two draws, a power of two up to 2^20. Default 1. */
  runBlocks?: number;
  grid: readonly [number, number, number];
  block: readonly [number, number, number];
  sharedBytes: number;
  /** Resident blocks N at levels `block` and `loop`; 0: found at load, at most the grid. */
  workers: number;
  args: readonly ArgSpec[];
  /** Time of the step alone; 0: unknown. */
  estimateNs: number;
  /** Time of one of its blocks; 0: unknown. */
  blockEstimateNs: number;
}

/** Where one buffer lies in the input or output blob. */
export interface IoSpec {
  buffer: number;
  /** A multiple of 256. */
  offset: number;
  sizeBytes: number;
}

export type SourceSpec =
  /** Work without input. `periodNs` 0, background only: back to back. `phaseNs`: of the first, after `ready`. */
  | { kind: "none"; periodNs: number; phaseNs: number }
  | { kind: "frames"; frames: number; periodNs: number; phaseNs: number }
  | { kind: "api" }
  /** Critical only. `channel`: id of `socket`, `ringInput`, `external`. `periodNs`: about how often; 0: not known. */
  | { kind: "socket" | "ring" | "external"; channel: number; periodNs: number };

interface CommonWorkSpec {
  /** Unique per kind; at most 63 bytes of UTF-8. */
  name: string;
  /** SHA-256 of the bundle. */
  digest: Uint8Array;
  steps: readonly StepSpec[];
  inputs: readonly IoSpec[];
  outputs: readonly IoSpec[];
  inputBytes: number;
  outputBytes: number;
  source: SourceSpec;
  /** False: results carry header and digest only. */
  keepOutput: boolean;
  /** Of one request or unit alone; 0: sum of the steps. */
  estimateNs: number;
  /** Id from `ringOutput()`: outputs are also written there, whatever `keepOutput` says. */
  outputChannel?: number;
}

/** The ring that an engine writes outputs into. */
export interface OutputRing {
  path: string;
  /** 2..65536. */
  slots: number;
  /** At least the work's output. */
  slotBytes: number;
  /** A heartbeat older than this tells that the engine does not go on; 10 ms to an hour. */
  expiryNs: number;
}

export interface CriticalSpec extends CommonWorkSpec {
  kind: "critical";
  deadlineNs: number;
  from: "arrival" | "sensor";
  queue: "latest" | "fifo";
  /** 1 for `latest`; 1..16 for `fifo`. */
  queueDepth: number;
  onMiss: "publish-late" | "drop";
  /** How long a `whole` background kernel may delay it; 0: not at all. */
  maxBlockingNs: number;
  /**
   * `always`: background leaves as soon as the task has work; `when-needed`: later, where the deadline allows what
   * runs to end first; `reserved`: never, the task has SMs of its own (without them: like `always`).
   */
  yield: "always" | "when-needed" | "reserved";
  /** Background leaves ahead of the request that is expected next. */
  anticipate: boolean;
}

export interface BackgroundSpec extends CommonWorkSpec {
  kind: "background";
  /** Longest it may keep the GPU after the gate has closed; 0: no bound. */
  preemptionBoundNs: number;
}

/** How a step of a job runs, as chosen at load, and what was measured; 0: not measured, as on `sim`. */
export interface StepInfo {
  level: Level;
  /** Resident blocks N at levels `block` and `loop`. */
  workers: number;
  /** Issue slots between two reads of the gate at level `loop`. */
  periodSlots: number;
  /** Consecutive blocks that a worker runs between two draws, at levels `block` and `loop`. */
  runBlocks: number;
  /** Undisturbed, at level `block` (`whole`, `slice`: as it is) and at level `loop`. */
  blockNs: number;
  loopNs: number;
  /** Longest seen from closing the gate to the last worker gone, at each of the two levels. */
  blockDrainNs: number;
  loopDrainNs: number;
}

export type WorkSpec = CriticalSpec | BackgroundSpec;

export interface PlanEntry {
  job: number;
  /** 1..1,000,000: share of background GPU time among the entries. */
  weight: number;
  /** 0: no limit. */
  maxUnits: number;
}

export interface Plan {
  /** Larger than the one before. */
  id: number;
  leaseNs: number;
  entries: readonly PlanEntry[];
  /** Share of time in which background may run at all, of 1000; absent or 0: no limit. */
  dutyPermille?: number;
}

/** Times of critical work by itself, launch to completion as the host sees it. */
export interface Timing {
  /** 0: not measured, as on `sim`; the times are then the estimates. */
  runs: number;
  bestNs: number;
  p50Ns: number;
  worstNs: number;
}

export interface Result {
  kind: WorkKind;
  work: number;
  /** Request number or unit id, from 0. */
  number: number;
  frameSeq: number;
  frameIndex: number;
  sensorNs: number;
  arrivalNs: number;
  startNs: number;
  doneNs: number;
  /** Absolute; 0 for background. */
  deadlineNs: number;
  /** FNV-1a 64 of the output blob; 0n if none. */
  digest: bigint;
  complete: boolean;
  late: boolean;
  dropped: boolean;
  failed: boolean;
  /** Timing is simulated, and the payload is the caller's to compute. */
  simulated: boolean;
  payload: Uint8Array;
  /** Grows from result to result; what `releaseResults` takes. */
  position: number;
}

export type EventKind =
  | "ready"
  | "feature"
  | "lease-expired"
  | "plan"
  | "miss"
  | "fault"
  | "watchdog"
  | "results-lost"
  | "whole-refused"
  | "hold"
  | "events-lost"
  | "anticipation"
  | "mapped-input"
  | "long-blocks"
  | "input"
  | "worker"
  | "engine"
  | "safe-mode";

export interface EngineEvent {
  sequence: number;
  timeNs: number;
  kind: EventKind;
  /** Task or job id; `undefined`: none. */
  source: number | undefined;
  a: number;
  b: number;
  text: string;
}

export interface Histogram {
  count: number;
  sumNs: number;
  minNs: number;
  maxNs: number;
  /** See calypte_histogram in calypte.h; `quantileNs` in ffi/histogram.ts reads it. */
  buckets: Uint32Array;
}

export interface TaskStats {
  requests: number;
  onTime: number;
  late: number;
  dropped: number;
  failed: number;
  waiting: number;
  inFlight: number;
  missRun: number;
  longestMissRun: number;
  busyNs: number;
  nextArrivalNs: number;
  worstExecutionNs: number;
  /** Of late, at these clocks; 0: too few. */
  executionP50Ns: number;
  executionP99Ns: number;
  /** Between arrivals, as given or learned; 0: irregular or not yet known. */
  periodNs: number;
  /** 99 % of arrivals lay at most this far from where they were expected. */
  jitterNs: number;
  /** The gate closes this long ahead of a request that is expected; 0: it does not. */
  marginNs: number;
  /** Requests that found the gate closed for them. */
  anticipated: number;
  /** Closings ahead that no request followed in time. */
  wrongGuesses: number;
  aheadNs: number;
  /** `when-needed`: requests that let background come to an end first, and for how long in all. */
  deferred: number;
  deferredNs: number;
  response: Histogram;
}

export interface JobStats {
  units: number;
  readyUnits: number;
  step: number;
  entries: number;
  preemptions: number;
  leaves: number;
  skippedEntries: number;
  wholeLaunches: number;
  gpuNs: Record<Level, number>;
  unitNs: number;
  /** Blocks left half-way and begun again. */
  abandoned: number;
  /** From closing the gate to the end of its entry; 0: not yet seen. */
  drainP99Ns: number;
  /** Entries queued or at work, now. */
  outstanding: number;
  /** Of a job in a process of its own: whether one is there. */
  worker: "none" | "waiting" | "present";
  /** Its processes that were killed as they hung. */
  workerKills: number;
}

/** What an engine has to know of a job that lives in another process; `Engine.isolatedOf` gives it. Opaque. */
export type IsolatedJob = Uint8Array;

export type HoldReason = "no-plan" | "lease" | "caller" | "shutdown" | "fault" | "safe-mode" | "duty";

export interface EngineSnapshot extends SafeModeState {
  nowNs: number;
  /** 0: not yet. */
  readyNs: number;
  /** `lost`: the process that held the engine has ended; this is its last state. */
  state: "loading" | "ready" | "fault" | "lost";
  backend: Backend;
  planId: number;
  leaseEndNs: number;
  /** Empty: background may run. */
  holds: HoldReason[];
  entriesAhead: number;
  leaseExpired: number;
  criticalBusyNs: number;
  backgroundBusyNs: number;
  /** The gate was closed ahead of critical work for this long, in all. */
  aheadNs: number;
  clockKey: number;
  /** When the next request is expected; 0: not known. */
  windowEndNs: number;
  eventsLost: number;
  dispatcherSteps: number;
  dispatcherWorstNs: number;
  /** By id. */
  tasks: TaskStats[];
  /** By id. */
  jobs: JobStats[];
}

export interface Engine extends PluginCalls, Disposable {
  readonly backend: Backend;
  device(): DeviceInfo;
  features(): Feature[];

  /** PTX text. Returns a module id. */
  loadModule(ptx: string): number;
  /** Returns a kernel id. */
  kernel(module: number, name: string): number;
  kernelInfo(kernel: number, threads: number, sharedBytes: number): KernelInfo;
  /** Zero-filled GPU memory. Returns a buffer id. */
  createBuffer(sizeBytes: number): number;
  writeBuffer(buffer: number, offset: number, data: Uint8Array): void;
  readBuffer(buffer: number, offset: number, sizeBytes: number): Uint8Array;
  /** `data` holds `count` frames one after the other. Returns a frames id. */
  addFrames(data: Uint8Array, frameBytes: number, count: number): number;
  /** Binds a Unix datagram socket for requests of one task; removed at close. Real clock only. Returns a channel id. */
  socket(path: string): number;
  /** The ring that a producer writes at `path`, now or later. Real clock only. Returns a channel id. */
  ringInput(path: string): number;
  /** Listens for the process that does a critical task's work itself (calypte_client.h). Real clock only. A channel id. */
  external(path: string): number;
  /** Makes or takes over a ring for the outputs of one work. Real clock only. Returns a channel id. */
  ringOutput(ring: OutputRing): number;
  /** Returns the id of the task or job, from 0 for each kind. */
  addWork(spec: WorkSpec): number;
  /** One request or unit by itself, before `ready`. On `sim` the output is all zero and the duration 0. */
  runOnce(kind: WorkKind, work: number, input: Uint8Array): { output: Uint8Array; durationNs: number };
  /**
   * Before `ready`, for verification: bytes that `launches` surplus launches behind a unit changed: 0 where the
   * protocol holds (and on `sim`, where nothing is launched).
   */
  checkSurplus(job: number, input: Uint8Array, launches: number): number;
  /** Settled by the first `runOnce` of the job, or by `ready`. */
  jobStep(job: number, step: number): StepInfo;
  /**
   * Before `warmUp`, behind the last work: what `takeLearned` gave of an earlier engine on this device. Returns how many
   * works it is about, by name, digest and steps. -1 (E_INVALID) if it was changed or is of another device or version.
   */
  giveLearned(bytes: Uint8Array): number;
  /** Runs all that was added until it is warm, and measures it; `ready` does it otherwise. Nothing can be added then. */
  warmUp(): void;
  /** What `warmUp` measured of a critical task. */
  timing(task: number): Timing;
  ready(): void;

  /** Worker, after `warmUp` or `join`. */
  isolatedOf(): IsolatedJob;
  /**
   * Before `warmUp` and behind all other background jobs: a job that lives in a worker's process, with which it will share
   * a page at this path. Returns the job's id.
   */
  addIsolated(job: IsolatedJob, page: string): number;
  /** This process may join as the job's worker; one that joined before is ended. */
  admit(job: number, process: number): void;
  /** Worker, instead of `ready`, once it was admitted. Without `warmUp` before, nothing of its job is run or measured. */
  join(page: string): void;

  setPlan(plan: Plan): void;
  /** `safe-mode` off ends the caller's reason only: safe mode goes on while another one stands. */
  hold(reason: "caller" | "safe-mode", on: boolean): void;
  /** Before or after `ready`. `undefined`: only `hold` enters safe mode, as without this call. */
  setSafeMode(rule: SafeModeRule | undefined): void;
  /** The device now runs at other clocks or in another power mode, for which `key` stands; 0 is the first. */
  setClocks(key: number): void;
  /** While ready: what was learned so far (durations, rhythms, levels), opaque, to be kept for the next engine. */
  takeLearned(): Uint8Array;
  /** Returns the request number or unit id; `undefined`: no free slot, counted as dropped for a task. */
  submit(kind: WorkKind, work: number, input: Uint8Array, sensorNs: number): number | undefined;
  /**
   * Those that wait, oldest first, as many as fit in `maxBytes` with their headers (default 4 MiB), but at least
   * one. Empty: none waits; a drain calls until then.
   */
  takeResults(maxBytes?: number): Result[];
  /**
   * Forgets all results up to this `position` of one that was taken: they are safe elsewhere. Until then they take the
   * store's room, and are there for whoever attaches to the engine next.
   */
  releaseResults(position: number): void;
  /** The next take begins again with the oldest result that was not released. */
  retakeResults(): void;
  /** Instead of taking them: forgets all results that wait. Returns how many there were. */
  dropResults(): number;
  takeEvents(): EngineEvent[];
  /** What was recorded of requests and slices behind position `from`; 0: from the oldest that is kept. Consumes nothing. */
  takeTrace(from: number): TracePart;
  snapshot(): EngineSnapshot;
  /** Virtual clock only: run until this time. */
  advance(untilNs: number): void;
  /**
   * `sim`, before `ready`: request or unit n of this work takes the n-th of these GPU times, and begins again behind the
   * last; 0: as without. Calls add up.
   */
  replayDurations(kind: WorkKind, work: number, timesNs: BigUint64Array): void;
  /** `sim`, before `ready`: requests of a task whose source is the API, in order of time. Calls add up. */
  replayArrivals(task: number, timesNs: BigUint64Array): void;
  /** Of an engine in another process: lets it run on, for whoever attaches next. */
  leave?(): void;
  /** Of an engine in another process: it is to end with its caller, however that ends. */
  ends?(): void;
  /** May be called twice. */
  close(): void;
}
