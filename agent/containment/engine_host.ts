/**
 * How does the agent use an engine that may be lost at any time?
 *
 * An `Engine` whose process is somebody else's. Loading goes into a journal as well; when the process is lost (a CUDA error,
 * a hang, a kill), what it left is taken, another is started, the journal is loaded into it, and holds, clocks and counts go
 * on. Meanwhile calls answer as of an engine that has no room: nothing throws. Whoever was at work in the background when a
 * fault came is under suspicion, and `onSuspects` hears of it.
 */
import { CONSTANTS } from "../../ffi/abi.ts";
import type {
  DeviceInfo,
  Engine,
  EngineEvent,
  EngineSnapshot,
  Feature,
  KernelInfo,
  OutputRing,
  Plan,
  Result,
  StepInfo,
  Timing,
  WorkKind,
  WorkSpec,
} from "../../ffi/engine.ts";
import { type Backend, EngineError, type NativeEngine, type OpenOptions } from "../../ffi/mod.ts";
import type { Logger } from "../log.ts";
import { connect, endForeign, type HostWorld, readNote, writeNote } from "./connect.ts";
import type { EngineProcess } from "./engine_process.ts";
import { LoadJournal } from "./journal.ts";
import { type Arrivals, Totals } from "./totals.ts";

export interface HostOptions {
  world: HostWorld;
  open: OpenOptions;
  log: Logger;
  /** What tells this mission and its program from others: an engine with another key is not taken over. */
  key: string;
  /** The engine has stopped by itself; background jobs that were at work then, by id. */
  onSuspects?: (jobs: readonly number[], reason: string) => void;
}

type State = "loading" | "adopting" | "ready" | "down" | "gone" | "closed";

/** An engine that does not answer for so long is killed. */
const SILENT_NS = 1_000_000_000;
const EXIT_WITHIN_MS = 5_000;
/** Restarts in a row of engines that did not live for GOOD_NS: then the machine needs somebody else's help. */
const MOST_RESTARTS = 8;
const GOOD_NS = 10_000_000_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

export class EngineHost implements Engine {
  readonly backend: Backend;
  readonly #options: HostOptions;
  readonly #journal = new LoadJournal();
  #native: NativeEngine;
  #process: EngineProcess | undefined;
  #state: State;
  #totals = new Totals();
  #last: EngineSnapshot | undefined;
  #device: DeviceInfo;
  #features: Feature[] = [];
  #events: EngineEvent[] = [];
  #holds = new Set<"caller" | "safe-mode">();
  #clockKey = 0;
  #answeredNs = 0;
  #readyNs = 0;
  #restartsInARow = 0;
  #reason = "";
  /** Results of lost engines that nobody took yet. */
  #left: Result[] = [];
  #positionBase = 0;
  #highestPosition = 0;

  private constructor(options: HostOptions, native: NativeEngine, process: EngineProcess | undefined) {
    this.#options = options;
    this.#native = native;
    this.#process = process;
    this.#state = process === undefined ? "adopting" : "loading";
    this.backend = native.backend;
    this.#device = native.device();
    this.#watch(process);
  }

  /** Starts a process and opens an engine in it. Throws `EngineError` or `InputError`. */
  static async start(options: HostOptions): Promise<EngineHost> {
    const process = options.world.spawn();
    try {
      return new EngineHost(options, await connect(options.world, options.open, process), process);
    } catch (error) {
      process.kill();
      throw error;
    }
  }

  /**
   * Takes over the engine that an agent before this one left running. `undefined` if there is none. One that is of another
   * mission or program is ended. Throws `EngineError` E_BUSY if another agent has it.
   */
  static async adopt(options: HostOptions): Promise<EngineHost | undefined> {
    let native: NativeEngine;
    try {
      native = options.world.attach(undefined);
    } catch (error) {
      if (error instanceof EngineError && error.code !== CONSTANTS.E_BUSY) return undefined;
      throw error;
    }
    const left = readNote(native.note());
    if (left?.key !== options.key || native.snapshot().state !== "ready") {
      options.log.info("an engine that runs here is not of this mission and program: it is ended");
      await endForeign(native, options.world);
      return undefined;
    }
    const host = new EngineHost(options, native, undefined);
    host.#totals = left.totals;
    return host;
  }

  /** The engine ran before this agent: what is loaded now must be what is there already. */
  get adopted(): boolean {
    return this.#state === "adopting";
  }

  /** The process that holds the engine; 0 while there is none. */
  get processId(): number {
    return this.#state === "down" || this.#state === "gone" ? 0 : this.#native.process();
  }

  get restarts(): number {
    return this.#totals.restarts;
  }

  // ---- Loading

  device(): DeviceInfo {
    return this.#device;
  }

  features(): Feature[] {
    if (this.#state !== "down" && this.#state !== "gone") {
      this.#features = this.#try(() => this.#native.features()) ?? this.#features;
    }
    return this.#features;
  }

  loadModule(ptx: string): number {
    return this.#load("module", () => this.#journal.loadModule(ptx));
  }

  kernel(module: number, name: string): number {
    const known = this.#journal.knownKernel(module, name);
    return known ?? this.#load("kernel", () => this.#journal.kernel(module, name));
  }

  kernelInfo(kernel: number, threads: number, sharedBytes: number): KernelInfo {
    return this.#native.kernelInfo(kernel, threads, sharedBytes);
  }

  createBuffer(sizeBytes: number): number {
    return this.#load("buffer", () => this.#journal.createBuffer(sizeBytes));
  }

  writeBuffer(buffer: number, offset: number, data: Uint8Array): void {
    this.#load(undefined, () => this.#journal.writeBuffer(buffer, offset, data));
  }

  readBuffer(buffer: number, offset: number, sizeBytes: number): Uint8Array {
    return this.#native.readBuffer(buffer, offset, sizeBytes);
  }

  addFrames(data: Uint8Array, frameBytes: number, count: number): number {
    return this.#load("frames", () => this.#journal.addFrames(data, frameBytes, count));
  }

  socket(path: string): number {
    return this.#load("channel", () => this.#journal.socket(path));
  }

  ringInput(path: string): number {
    return this.#load("channel", () => this.#journal.ringInput(path));
  }

  ringOutput(ring: OutputRing): number {
    return this.#load("channel", () => this.#journal.ringOutput(ring));
  }

  addWork(spec: WorkSpec): number {
    const id = this.#load(spec.kind, () => this.#journal.addWork(spec));
    this.#native.expectWork(id, spec);
    return id;
  }

  runOnce(kind: WorkKind, work: number, input: Uint8Array): { output: Uint8Array; durationNs: number } {
    return this.#native.runOnce(kind, work, input);
  }

  checkSurplus(job: number, input: Uint8Array, launches: number): number {
    return this.#native.checkSurplus(job, input, launches);
  }

  jobStep(job: number, step: number): StepInfo {
    return this.#native.jobStep(job, step);
  }

  warmUp(): void {
    if (this.#state === "loading") this.#native.warmUp();
  }

  timing(task: number): Timing {
    return this.#native.timing(task);
  }

  ready(): void {
    if (this.#state === "loading") this.#native.ready();
    this.#begin();
  }

  // ---- Running

  setPlan(plan: Plan): void {
    this.#try(() => this.#native.setPlan(plan));
  }

  hold(reason: "caller" | "safe-mode", on: boolean): void {
    if (on) this.#holds.add(reason);
    else this.#holds.delete(reason);
    this.#try(() => this.#native.hold(reason, on));
  }

  setClocks(key: number): void {
    this.#clockKey = key;
    this.#try(() => this.#native.setClocks(key));
  }

  submit(kind: WorkKind, work: number, input: Uint8Array, sensorNs: number): number | undefined {
    const number = this.#try(() => this.#native.submit(kind, work, input, sensorNs));
    return number === undefined ? undefined : this.#totals.numberOf(kind, work, number);
  }

  takeResults(maxBytes?: number): Result[] {
    if (this.#left.length > 0) return this.#left.splice(0);
    return this.#state === "gone" ? [] : this.#renumbered(this.#native.takeResults(maxBytes));
  }

  releaseResults(position: number): void {
    if (position > this.#positionBase) this.#native.releaseResults(position - this.#positionBase);
  }

  retakeResults(): void {
    this.#native.retakeResults();
  }

  dropResults(): number {
    let count = 0;
    for (let results = this.takeResults(); results.length > 0; results = this.takeResults()) {
      count += results.length;
      this.releaseResults(results.at(-1)!.position);
    }
    return count;
  }

  takeEvents(): EngineEvent[] {
    const events = this.#state === "gone" ? [] : this.#native.takeEvents();
    for (const { kind, text } of events) {
      if (kind === "fault" || kind === "watchdog") this.#reason = text === "" ? kind : text;
    }
    return [...events, ...this.#events.splice(0)];
  }

  snapshot(): EngineSnapshot {
    if (this.#state === "loading" || this.#state === "adopting") return this.#native.snapshot();
    const now = this.#state === "ready" ? this.#look() : undefined;
    if (now !== undefined) this.#last = now;
    const last = this.#last ?? this.#native.snapshot();
    if (this.#state === "gone") return { ...this.#totals.onto(last), state: "fault" };
    return { ...this.#totals.onto(last), state: this.#state === "ready" ? "ready" : "lost" };
  }

  advance(untilNs: number): void {
    this.#native.advance(untilNs);
  }

  replayDurations(kind: WorkKind, work: number, timesNs: BigUint64Array): void {
    this.#native.replayDurations(kind, work, timesNs);
  }

  replayArrivals(task: number, timesNs: BigUint64Array): void {
    this.#native.replayArrivals(task, timesNs);
  }

  /** Ends the engine and its process. */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    try {
      this.#native.close();
    } finally {
      const { pause } = this.#options.world;
      const { exited } = this.#process ?? {};
      // What a GPU that hangs holds is freed by the end of the process, and by nothing else.
      if (exited !== undefined) {
        Promise.race([exited, pause(EXIT_WITHIN_MS)]).then(() => this.#process?.kill());
      }
    }
  }

  /** Leaves the engine running for the next agent. */
  leave(): void {
    if (this.#state === "closed") return;
    if (this.#state !== "ready") return this.close();
    this.#state = "closed";
    this.#native.detach();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // ---- Lost and restarted

  #load<T extends number | void>(kind: Parameters<LoadJournal["forgetLast"]>[0], record: () => T): T {
    const given = record();
    if (this.#state !== "loading") return given;
    try {
      this.#journal.runLast(this.#native);
      return given;
    } catch (error) {
      this.#journal.forgetLast(kind);
      throw error;
    }
  }

  /** The engine is ready: how its jobs run is kept, and whoever comes next finds out what it is. */
  #begin(): void {
    const { world } = this.#options;
    this.#state = "ready";
    this.#readyNs = this.#answeredNs = world.nowNs();
    for (const { spec, id } of this.#journal.works) {
      if (spec.kind !== "background") continue;
      const steps = this.#try(() => spec.steps.map((_, step) => this.#native.jobStep(id, step)));
      if (steps !== undefined) this.#journal.settle(id, steps);
    }
    this.#try(() => this.#native.setNote(writeNote({ key: this.#options.key, totals: this.#totals })));
    // Even of one that is lost in the next moment it is known what it had.
    this.#last = this.#look() ?? this.#last;
  }

  /** Runs the call; `undefined` if the engine is not there, or is lost over it. Other errors are the caller's. */
  #try<T>(call: () => T): T | undefined {
    if (this.#state === "down" || this.#state === "gone") return undefined;
    try {
      return call();
    } catch (error) {
      if (!(error instanceof EngineError) || this.#state !== "ready") throw error;
      if (error.code !== CONSTANTS.E_LOST && error.code !== CONSTANTS.E_FAULT) throw error;
      this.#lose();
      return undefined;
    }
  }

  #look(): EngineSnapshot | undefined {
    const { world } = this.#options;
    try {
      const now = this.#native.snapshot();
      this.#answeredNs = world.nowNs();
      if (now.state === "ready") return now;
      this.#lose();
      return now;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      if (error.code === CONSTANTS.E_TIMEOUT && world.nowNs() < this.#answeredNs + SILENT_NS) {
        return undefined;
      }
      this.#lose();
      return undefined;
    }
  }

  #watch(process: EngineProcess | undefined): void {
    process?.exited.then((how) => {
      if (process !== this.#process || this.#state !== "ready") return;
      this.#reason ||= how;
      this.#lose();
    });
  }

  #lose(): void {
    if (this.#state !== "ready") return;
    this.#state = "down";
    const { world, log } = this.#options;
    // A fault that came with the end.
    this.#events.push(...this.takeEvents());
    const reason = this.#reason === "" ? "its process has ended or does not answer" : this.#reason;
    this.#reason = "";
    try {
      this.#native.kill();
    } catch (error) {
      log.warn(`the lost engine's process cannot be killed: ${(error as Error).message}`);
    }
    const last = this.#finalSnapshot();
    this.#last = last ?? this.#last;
    this.#report(1, 0, reason);
    const suspects = (this.#last?.jobs ?? []).flatMap(({ outstanding }, id) => outstanding > 0 ? [id] : []);
    if (world.nowNs() > this.#readyNs + GOOD_NS) this.#restartsInARow = 0;
    this.#options.onSuspects?.(suspects, reason);
    this.#restart(reason).catch((error) => {
      this.#state = "gone";
      log.error(`the engine is lost for good: ${error instanceof Error ? error.message : String(error)}`);
    });
  }

  #finalSnapshot(): EngineSnapshot | undefined {
    try {
      const last = this.#native.snapshot();
      return last.nowNs > 0 ? last : undefined;
    } catch {
      return undefined;
    }
  }

  async #restart(reason: string): Promise<void> {
    const { world, open, log } = this.#options;
    for (;;) {
      if (++this.#restartsInARow > MOST_RESTARTS) {
        throw new Error(`${MOST_RESTARTS} restarts in a row did not help; the last reason: ${reason}`);
      }
      if (this.#restartsInARow > 1) {
        await world.pause(Math.min(FIRST_PAUSE_MS * 2 ** (this.#restartsInARow - 2), LONGEST_PAUSE_MS));
      }
      await Promise.race([this.#process?.exited, world.pause(EXIT_WITHIN_MS)]);
      if (this.#state === "closed") return;
      const process = world.spawn();
      try {
        const native = await connect(world, open, process);
        await this.#journal.replay(native);
        native.ready();
        this.#changeOver(native, process);
        return;
      } catch (error) {
        process.kill();
        await process.exited;
        this.#process = undefined;
        log.error(
          `the engine cannot be started again: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
    }
  }

  #changeOver(native: NativeEngine, process: EngineProcess): void {
    const { world } = this.#options;
    if (this.#state === "closed") {
      native.close();
      return;
    }
    for (const { spec, id } of this.#journal.works) native.expectWork(id, spec);
    // What the lost one had done is taken out before its page goes.
    for (let left = this.#renumbered(this.#native.takeResults()); left.length > 0;) {
      this.#left.push(...left);
      left = this.#renumbered(this.#native.takeResults());
    }
    this.#native.close();
    this.#positionBase = this.#highestPosition;
    const servedNs = world.nowNs();
    const outageNs = servedNs - (this.#last?.nowNs ?? servedNs);
    if (this.#last !== undefined) this.#totals.lose(this.#last, servedNs, this.#arrivals());
    this.#native = native;
    this.#process = process;
    this.#last = undefined;
    this.#watch(process);
    this.#begin();
    for (const reason of this.#holds) this.hold(reason, true);
    if (this.#clockKey !== 0) this.setClocks(this.#clockKey);
    this.#report(2, outageNs, "");
  }

  /** By task: what its source states, else what was learned. */
  #arrivals(): Arrivals[] {
    return this.#journal.works.filter(({ spec }) => spec.kind === "critical").map(({ spec, id }) => {
      const stated = "periodNs" in spec.source ? spec.source.periodNs : 0;
      return { periodNs: stated > 0 ? stated : this.#last?.tasks[id]?.periodNs ?? 0 };
    });
  }

  #renumbered(results: Result[]): Result[] {
    return results.map((result) => {
      const position = result.position + this.#positionBase;
      this.#highestPosition = Math.max(this.#highestPosition, position);
      return { ...this.#totals.renumber(result), position };
    });
  }

  #report(a: number, b: number, text: string): void {
    const timeNs = this.#options.world.nowNs();
    this.#events.push({ sequence: 0, timeNs, kind: "engine", source: undefined, a, b, text });
  }
}
