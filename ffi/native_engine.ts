/**
 * house-rule: length, because each method is one call of calypte.h, and they share the buffers of those calls.
 *
 * How does an engine live in this process? `Engine` over the native library.
 *
 * Every method is one synchronous call (of microseconds, except `open`, `loadModule`, `runOnce`, `ready`,
 * `advance` and `close`). Each call finds its buffers ready-made; only what it returns is allocated.
 */
import { CONSTANTS, STRUCTS } from "./abi.ts";
import {
  decodeDevice,
  decodeEvent,
  decodeFeature,
  decodeKernelInfo,
  decodeResults,
  decodeStepInfo,
  decodeTiming,
  SnapshotReader,
} from "./decode.ts";
import {
  encodeOptions,
  encodePlan,
  encodeSafeMode,
  encodeSimFaults,
  encodeSimProfile,
  encodeWork,
} from "./encode.ts";
import type {
  Backend,
  DeviceInfo,
  Engine,
  EngineEvent,
  EngineSnapshot,
  Feature,
  IsolatedJob,
  KernelInfo,
  OpenOptions,
  OutputRing,
  Plan,
  Result,
  StepInfo,
  Timing,
  WorkKind,
  WorkSpec,
} from "./engine.ts";
import { check, EngineError } from "./errors.ts";
import {
  decodePluginInfo,
  decodePluginStep,
  encodePlugin,
  type PluginInfo,
  type PluginSpec,
  type PluginStep,
} from "./plugin.ts";
import type { SafeModeRule } from "./safe_mode.ts";
import { cString, type Library, type Symbols } from "./library.ts";
import { checkInteger, sizeOf, StructView } from "./structs.ts";
import { decodeTrace, TRACE_RECORDS_PER_CALL, type TracePart, traceRoom } from "./trace.ts";
import { HOLD_BITS, numberOf, WORK_KINDS } from "./words.ts";

const DEFAULT_TAKE_BYTES = 4 * 1024 * 1024;
const EVENTS_PER_CALL = 256;
const DEFAULT_TIMEOUT = 0n;
const RESULT_SIZE_AT = STRUCTS.result.fields.sizeBytes.offset;
const RESULT_POSITION_AT = STRUCTS.result.fields.position.offset;
const encoder = new TextEncoder();

/** Where an engine of another process is found. */
export interface AttachOptions {
  /** Path of the socket at which it is served. */
  path: string;
  /** Opens a new engine there; absent: attaches to the one that is ready there. */
  open?: OpenOptions;
  /** How long to wait for a process that serves there; 0: not. */
  timeoutNs?: number;
}

/** An engine in this process, made by `NativeEngine.open`, or in another, by `attach`. All calls come from one thread. */
export class NativeEngine implements Engine {
  readonly backend: Backend;
  readonly #library: Library;
  readonly #id: number;
  #closed = false;

  readonly #outputBytes: Record<WorkKind, number[]> = { critical: [], background: [] };
  readonly #snapshot = new SnapshotReader();
  readonly #plan = new StructView("plan");
  #trace: StructView<"trace"> | undefined;
  readonly #event = new StructView("event", new Uint8Array(EVENTS_PER_CALL * sizeOf("event")));
  readonly #kernelInfo = new StructView("kernel_info");
  readonly #duration = new DataView(new ArrayBuffer(8));
  /** Grows to what `takeResults` is asked for. */
  #results = new StructView("result");
  #largestResultBytes = sizeOf("result");

  private constructor(library: Library, id: number, backend: Backend) {
    this.#library = library;
    this.#id = id;
    this.backend = backend;
    library.attach(this);
  }

  /** Opens the device. Takes up to a second with `cuda`. */
  static open(library: Library, options: OpenOptions): NativeEngine {
    const operation = `open ${options.backend} engine`;
    const bytes = encodeOptions(options, operation);
    const id = check(library.symbols.calypte_open(ffi(bytes)), operation, library);
    const engine = new NativeEngine(library, id, options.backend);
    try {
      engine.#simulate(options);
    } catch (error) {
      engine.close();
      throw error;
    }
    return engine;
  }

  /**
   * An engine in another process. Once that has ended, or has not answered for a second, calls throw E_LOST, but
   * `snapshot` (state `lost`), `takeEvents` and `takeResults` still give what it left. `EngineError` E_NOT_FOUND if nobody
   * serves there, E_BUSY if somebody else is attached.
   */
  static attach(library: Library, { path, open, timeoutNs = 0 }: AttachOptions): NativeEngine {
    const operation = `attach to the engine at ${JSON.stringify(path)}`;
    const text = cString(path, operation);
    const options = open === undefined ? null : ffi(encodeOptions(open, operation));
    const timeout = u64(timeoutNs, operation, "timeoutNs");
    const id = check(library.symbols.calypte_attach(text, options, timeout), operation, library);
    const device = new StructView("device");
    check(library.symbols.calypte_device_of(id, ffi(device.bytes)), operation, library);
    const engine = new NativeEngine(library, id, decodeDevice(device).backend);
    if (open !== undefined) engine.#simulate(open);
    return engine;
  }

  /** Lets go of an engine in another process, which runs on. */
  detach(): void {
    if (this.#closed) return;
    this.#closed = true;
    check(this.#library.symbols.calypte_detach(this.#id), "detach from the engine", this.#library);
    this.#library.detach(this);
  }

  /** The process that holds the engine; 0: this one. */
  process(): number {
    return this.#call("read the process", (c) => c.calypte_process_of(this.#id));
  }

  /** How long the engine in another process goes on without a caller, from now on. */
  keep(keepNs: number): void {
    const value = u64(keepNs, "keep the engine", "keepNs");
    this.#call("keep the engine", (c) => c.calypte_keep(this.#id, value));
  }

  /** Ends the process that holds the engine at once, whatever it does. */
  kill(): void {
    this.#call("kill the engine's process", (c) => c.calypte_kill(this.#id));
  }

  /** A work that another caller has added before, as `addWork` would have: results of its size will come. */
  expectWork(id: number, spec: WorkSpec): void {
    this.#outputBytes[spec.kind][id] = spec.outputBytes;
    const resultBytes = sizeOf("result") + (spec.keepOutput ? Math.ceil(spec.outputBytes / 8) * 8 : 0);
    this.#largestResultBytes = Math.max(this.#largestResultBytes, resultBytes);
  }

  /** Leaves a text of up to 1 MiB with the engine, for whoever attaches to it next. */
  setNote(text: string): void {
    const bytes = ffi(encoder.encode(text));
    this.#call("set the note", (c) => c.calypte_set_note(this.#id, bytes, bytes.length));
  }

  /** The text that was left; "" if there is none. */
  note(): string {
    const bytes = new Uint8Array(CONSTANTS.NOTE_BYTES);
    const used = this.#call("read the note", (c) => c.calypte_note_of(this.#id, bytes, bytes.length));
    return new TextDecoder().decode(bytes.subarray(0, used));
  }

  #simulate({ simProfile, simFaults }: OpenOptions): void {
    if (simProfile !== undefined) {
      const bytes = ffi(encodeSimProfile(simProfile));
      this.#call("set the profile", (c) => c.calypte_sim_profile_set(this.#id, bytes));
    }
    if (simFaults !== undefined) {
      const bytes = ffi(encodeSimFaults(simFaults));
      this.#call("set the faults", (c) => c.calypte_sim_faults_set(this.#id, bytes));
    }
  }

  device(): DeviceInfo {
    const view = new StructView("device");
    this.#call("read device", (c) => c.calypte_device_of(this.#id, ffi(view.bytes)));
    return decodeDevice(view);
  }

  features(): Feature[] {
    const capacity = CONSTANTS.FEATURES;
    const view = new StructView("feature", new Uint8Array(capacity * sizeOf("feature")));
    const count = this.#call("read features", (c) => c.calypte_features(this.#id, ffi(view.bytes), capacity));
    return Array.from({ length: count }, (_, i) => decodeFeature(view.moveTo(i * view.size)));
  }

  loadModule(ptx: string): number {
    const text = ffi(encoder.encode(ptx));
    return this.#call("load module", (c) => c.calypte_module(this.#id, text, text.length));
  }

  kernel(module: number, name: string): number {
    const operation = `find kernel ${JSON.stringify(name)}`;
    const text = cString(name, operation);
    checkInteger(module, "i32", operation, "module");
    return this.#call(operation, (c) => c.calypte_kernel(this.#id, module, text));
  }

  kernelInfo(kernel: number, threads: number, sharedBytes: number): KernelInfo {
    const operation = "read kernel info";
    checkInteger(kernel, "i32", operation, "kernel");
    checkInteger(threads, "u32", operation, "threads");
    checkInteger(sharedBytes, "u32", operation, "sharedBytes");
    const info = ffi(this.#kernelInfo.bytes);
    this.#call(operation, (c) => c.calypte_kernel_info_of(this.#id, kernel, threads, sharedBytes, info));
    return decodeKernelInfo(this.#kernelInfo);
  }

  createBuffer(sizeBytes: number): number {
    const operation = "create buffer";
    const size = u64(sizeBytes, operation, "sizeBytes");
    return this.#call(operation, (c) => c.calypte_buffer(this.#id, size));
  }

  writeBuffer(buffer: number, offset: number, data: Uint8Array): void {
    const operation = "write buffer";
    checkInteger(buffer, "i32", operation, "buffer");
    const at = u64(offset, operation, "offset");
    this.#call(
      operation,
      (c) => c.calypte_buffer_write(this.#id, buffer, at, ffi(data), BigInt(data.length)),
    );
  }

  readBuffer(buffer: number, offset: number, sizeBytes: number): Uint8Array {
    const operation = "read buffer";
    checkInteger(buffer, "i32", operation, "buffer");
    const at = u64(offset, operation, "offset");
    const data = allocate(sizeBytes, operation, "sizeBytes");
    this.#call(operation, (c) => c.calypte_buffer_read(this.#id, buffer, at, data, BigInt(sizeBytes)));
    return data;
  }

  plugin(spec: PluginSpec): number {
    const operation = `load plugin ${JSON.stringify(spec.path)}`;
    const bytes = encodePlugin(spec, operation);
    return this.#call(operation, (c) => c.calypte_plugin(this.#id, ffi(bytes), bytes.length));
  }

  pluginInfo(plugin: number): PluginInfo {
    const operation = `read how plugin ${plugin} was loaded`;
    checkInteger(plugin, "i32", operation, "plugin");
    const view = new StructView("plugin_info");
    this.#call(operation, (c) => c.calypte_plugin_info_of(this.#id, plugin, ffi(view.bytes)));
    return decodePluginInfo(view);
  }

  pluginStep(plugin: number, step: number): PluginStep {
    const operation = `read step ${step} of plugin ${plugin}`;
    checkInteger(plugin, "i32", operation, "plugin");
    checkInteger(step, "u32", operation, "step");
    const view = new StructView("plugin_step");
    this.#call(operation, (c) => c.calypte_plugin_step_of(this.#id, plugin, step, ffi(view.bytes)));
    return decodePluginStep(view);
  }

  addFrames(data: Uint8Array, frameBytes: number, count: number): number {
    const operation = "add frames";
    const stride = u64(frameBytes, operation, "frameBytes");
    checkInteger(count, "u32", operation, "count");
    // The library takes the data's length on trust.
    if (data.length !== frameBytes * count) {
      const reason = `${count} frames of ${frameBytes} bytes take ${
        frameBytes * count
      } bytes, not ${data.length}`;
      throw new EngineError(CONSTANTS.E_INVALID, operation, reason);
    }
    return this.#call(operation, (c) => c.calypte_frames(this.#id, ffi(data), stride, count));
  }

  socket(path: string): number {
    const operation = `open socket ${JSON.stringify(path)}`;
    const text = cString(path, operation);
    return this.#call(operation, (c) => c.calypte_socket(this.#id, text));
  }

  ringInput(path: string): number {
    const operation = `take input from ring ${JSON.stringify(path)}`;
    const text = cString(path, operation);
    return this.#call(operation, (c) => c.calypte_ring_input(this.#id, text));
  }

  external(path: string): number {
    const operation = `listen for a critical process at ${JSON.stringify(path)}`;
    const text = cString(path, operation);
    return this.#call(operation, (c) => c.calypte_external(this.#id, text));
  }

  ringOutput({ path, slots, slotBytes, expiryNs }: OutputRing): number {
    const operation = `make ring ${JSON.stringify(path)}`;
    const text = cString(path, operation);
    checkInteger(slots, "u32", operation, "slots");
    const size = u64(slotBytes, operation, "slotBytes");
    const expiry = u64(expiryNs, operation, "expiryNs");
    return this.#call(operation, (c) => c.calypte_ring_output(this.#id, text, slots, size, expiry));
  }

  addWork(spec: WorkSpec): number {
    const operation = `add ${spec.kind} work ${JSON.stringify(spec.name)}`;
    const bytes = encodeWork(spec, operation);
    const id = this.#call(operation, (c) => c.calypte_add(this.#id, ffi(bytes), bytes.length));
    this.expectWork(id, spec);
    return id;
  }

  runOnce(kind: WorkKind, work: number, input: Uint8Array): { output: Uint8Array; durationNs: number } {
    const operation = `run ${kind} work ${work} once`;
    const number = numberOf(WORK_KINDS, kind, "kind", operation);
    checkInteger(work, "i32", operation, "work");
    const output = new Uint8Array(this.#outputBytes[kind][work] ?? 0);
    const duration = this.#duration;
    duration.setBigUint64(0, 0n, true);
    this.#call(operation, (c) =>
      c.calypte_run_once(
        this.#id,
        number,
        work,
        ffi(input),
        BigInt(input.length),
        output,
        BigInt(output.length),
        DEFAULT_TIMEOUT,
        duration,
      ));
    return { output, durationNs: Number(duration.getBigUint64(0, true)) };
  }

  checkSurplus(job: number, input: Uint8Array, launches: number): number {
    const operation = `check surplus launches of job ${job}`;
    checkInteger(job, "i32", operation, "job");
    checkInteger(launches, "u32", operation, "launches");
    return this.#call(
      operation,
      (c) => c.calypte_check_surplus(this.#id, job, ffi(input), BigInt(input.length), launches),
    );
  }

  jobStep(job: number, step: number): StepInfo {
    const operation = `read how step ${step} of job ${job} runs`;
    checkInteger(job, "i32", operation, "job");
    checkInteger(step, "u32", operation, "step");
    const view = new StructView("step_info");
    this.#call(operation, (c) => c.calypte_job_step(this.#id, job, step, ffi(view.bytes)));
    return decodeStepInfo(view);
  }

  giveLearned(bytes: Uint8Array): number {
    return this.#call(
      "give back what was learned",
      (c) => c.calypte_give_learned(this.#id, ffi(bytes), bytes.length),
    );
  }

  warmUp(): void {
    this.#call("warm up", (c) => c.calypte_warm_up(this.#id));
  }

  timing(task: number): Timing {
    const operation = `read the timing of task ${task}`;
    checkInteger(task, "i32", operation, "task");
    const view = new StructView("timing");
    this.#call(operation, (c) => c.calypte_timing_of(this.#id, task, ffi(view.bytes)));
    return decodeTiming(view);
  }

  ready(): void {
    this.#call("make the engine ready", (c) => c.calypte_ready(this.#id));
  }

  isolatedOf(): IsolatedJob {
    const view = new StructView("isolated");
    this.#call("describe the job", (c) => c.calypte_isolated_of(this.#id, ffi(view.bytes)));
    return view.bytes;
  }

  addIsolated(job: IsolatedJob, page: string): number {
    const operation = `add an isolated job at ${JSON.stringify(page)}`;
    const text = cString(page, operation);
    return this.#call(operation, (c) => c.calypte_add_isolated(this.#id, ffi(job), text));
  }

  admit(job: number, process: number): void {
    this.#call(`admit process ${process}`, (c) => c.calypte_admit(this.#id, job, process));
  }

  join(page: string): void {
    const operation = `join at ${JSON.stringify(page)}`;
    const text = cString(page, operation);
    this.#call(operation, (c) => c.calypte_join(this.#id, text));
  }

  setPlan(plan: Plan): void {
    const operation = `set plan ${plan.id}`;
    encodePlan(this.#plan, plan, operation);
    this.#call(operation, (c) => c.calypte_set_plan(this.#id, ffi(this.#plan.bytes)));
  }

  hold(reason: "caller" | "safe-mode", on: boolean): void {
    const operation = `${on ? "set" : "clear"} hold`;
    const bits = numberOf(HOLD_BITS, reason, "reason", operation);
    this.#call(operation, (c) => c.calypte_hold(this.#id, bits, on ? 1 : 0));
  }

  setSafeMode(rule: SafeModeRule | undefined): void {
    const bytes = ffi(encodeSafeMode(rule));
    this.#call("set the rule of safe mode", (c) => c.calypte_set_safe_mode(this.#id, bytes));
  }

  setClocks(key: number): void {
    const value = u64(key, "set clocks", "key");
    this.#call("set clocks", (c) => c.calypte_set_clocks(this.#id, value));
  }

  takeLearned(): Uint8Array {
    const operation = "take what was learned";
    for (;;) {
      const size = this.#call(operation, (c) => c.calypte_take_learned(this.#id, null, 0));
      // It may have grown by a little when the second call asks.
      const bytes = allocate(size + Math.ceil(size / 4) + 4096, operation, "its bytes");
      const used = this.#symbols(operation).calypte_take_learned(this.#id, bytes, bytes.length);
      if (used === CONSTANTS.E_BUFFER) continue;
      return bytes.subarray(0, check(used, operation, this.#library));
    }
  }

  submit(kind: WorkKind, work: number, input: Uint8Array, sensorNs: number): number | undefined {
    const operation = `submit to ${kind} work ${work}`;
    const number = numberOf(WORK_KINDS, kind, "kind", operation);
    checkInteger(work, "i32", operation, "work");
    const sensor = u64(sensorNs, operation, "sensorNs");
    const size = BigInt(input.length);
    const symbols = this.#symbols(operation);
    const result = symbols.calypte_submit(this.#id, number, work, ffi(input), size, sensor);
    return result === CONSTANTS.E_BUSY ? undefined : check(result, operation, this.#library);
  }

  takeResults(maxBytes: number = DEFAULT_TAKE_BYTES): Result[] {
    const used = this.#take(maxBytes);
    return decodeResults(this.#results, used);
  }

  /** Moves records into `#results`; returns the bytes used. */
  #take(maxBytes: number): number {
    const operation = "take results";
    checkInteger(maxBytes, "u32", operation, "maxBytes");
    // At least one always fits: a result that no call can take would stop all behind it.
    const capacity = Math.max(maxBytes, this.#largestResultBytes);
    if (this.#results.bytes.length < capacity) {
      this.#results = new StructView("result", allocate(capacity, operation, "maxBytes"));
    }
    const { bytes } = this.#results;
    return this.#call(operation, (c) => c.calypte_take_results(this.#id, ffi(bytes), capacity));
  }

  releaseResults(position: number): void {
    const value = u64(position, "release results", "position");
    this.#call("release results", (c) => c.calypte_release_results(this.#id, value));
  }

  retakeResults(): void {
    this.#call("take results again", (c) => c.calypte_retake_results(this.#id));
  }

  dropResults(): number {
    let count = 0;
    for (let bytes = this.#take(DEFAULT_TAKE_BYTES); bytes > 0; bytes = this.#take(DEFAULT_TAKE_BYTES)) {
      // Millions of them in an hour of virtual time: only their sizes are read.
      const { buffer, byteOffset } = this.#results.bytes;
      const records = new DataView(buffer, byteOffset, bytes);
      let position = 0n;
      for (let at = 0; at < bytes; count++) {
        position = records.getBigUint64(at + RESULT_POSITION_AT, true);
        at += records.getUint32(at + RESULT_SIZE_AT, true);
      }
      this.releaseResults(Number(position));
    }
    return count;
  }

  takeEvents(): EngineEvent[] {
    const events: EngineEvent[] = [];
    const view = this.#event;
    let count: number;
    do {
      count = this.#call(
        "take events",
        (c) => c.calypte_take_events(this.#id, ffi(view.bytes), EVENTS_PER_CALL),
      );
      for (let i = 0; i < count; i++) events.push(decodeEvent(view.moveTo(i * view.size)));
    } while (count === EVENTS_PER_CALL);
    return events;
  }

  takeTrace(from: number): TracePart {
    const operation = "take the trace";
    const view = this.#trace ??= traceRoom();
    const [next, lost] = [new BigUint64Array(1), new BigUint64Array(1)];
    const part: TracePart = { records: [], next: from, lost: 0 };
    let count: number;
    do {
      const at = u64(part.next, operation, "from");
      count = this.#call(
        operation,
        (c) => c.calypte_take_trace(this.#id, at, ffi(view.bytes), TRACE_RECORDS_PER_CALL, next, lost),
      );
      for (let i = 0; i < count; i++) part.records.push(decodeTrace(view.moveTo(i * view.size)));
      part.next = Number(next[0]);
      part.lost += Number(lost[0]);
    } while (count === TRACE_RECORDS_PER_CALL);
    return part;
  }

  snapshot(): EngineSnapshot {
    const { bytes } = this.#snapshot;
    this.#call("take snapshot", (c) => c.calypte_take_snapshot(this.#id, ffi(bytes), bytes.length));
    return this.#snapshot.read();
  }

  advance(untilNs: number): void {
    const operation = `advance virtual time to ${untilNs} ns`;
    const until = u64(untilNs, operation, "untilNs");
    this.#call(operation, (c) => c.calypte_sim_advance(this.#id, until));
  }

  replayDurations(kind: WorkKind, work: number, timesNs: BigUint64Array): void {
    const operation = `replay durations of ${kind} work ${work}`;
    const number = numberOf(WORK_KINDS, kind, "kind", operation);
    checkInteger(work, "i32", operation, "work");
    const times = ffi(bytesOf(timesNs));
    this.#call(
      operation,
      (c) => c.calypte_sim_replay_durations(this.#id, number, work, times, timesNs.length),
    );
  }

  replayArrivals(task: number, timesNs: BigUint64Array): void {
    const operation = `replay arrivals of task ${task}`;
    checkInteger(task, "i32", operation, "task");
    const times = ffi(bytesOf(timesNs));
    this.#call(operation, (c) => c.calypte_sim_replay_arrivals(this.#id, task, times, timesNs.length));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    check(this.#library.symbols.calypte_close(this.#id), "close the engine", this.#library);
    this.#library.detach(this);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #symbols(operation: string): Symbols {
    if (!this.#closed) return this.#library.symbols;
    throw new EngineError(CONSTANTS.E_CLOSED, operation, "the engine is closed; open another");
  }

  #call(operation: string, call: (symbols: Symbols) => number): number {
    return check(call(this.#symbols(operation)), operation, this.#library);
  }
}

/** Bytes as `Deno.dlopen` takes them, which is unshared. */
export function ffi(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (bytes.buffer instanceof ArrayBuffer) return bytes as Uint8Array<ArrayBuffer>;
  throw new EngineError(
    CONSTANTS.E_INVALID,
    "pass bytes",
    "they must not be in a SharedArrayBuffer; copy them",
  );
}

function bytesOf(words: BigUint64Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** A `uint64_t` argument. */
export function u64(value: number, operation: string, what: string): bigint {
  return BigInt(checkInteger(value, "u64", operation, what));
}

function allocate(sizeBytes: number, operation: string, what: string): Uint8Array<ArrayBuffer> {
  checkInteger(sizeBytes, "u64", operation, what);
  try {
    return new Uint8Array(sizeBytes);
  } catch (cause) {
    const reason = `${what}: ${sizeBytes} bytes cannot be allocated`;
    throw new EngineError(CONSTANTS.E_NO_MEMORY, operation, reason, { cause });
  }
}
