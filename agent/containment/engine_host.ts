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
  Plan,
  Result,
  StepInfo,
  Timing,
  TracePart,
  WorkKind,
} from "../../ffi/mod.ts";
import { type Backend, EngineError, type NativeEngine } from "../../ffi/mod.ts";
import type { SafeModeRule } from "../../ffi/safe_mode.ts";
import { connect, endForeign, lastOf, readNote, teach, writeNote } from "./connect.ts";
import type { EngineProcess } from "./engine_process.ts";
import { type HostOptions, usualPauseMs } from "./host_options.ts";
import { LoadedEngine } from "./loaded_engine.ts";
import { Tickets } from "./tickets.ts";
import { arrivalsOf, Totals } from "./totals.ts";
import { Traces } from "./traces.ts";

type State = "loading" | "adopting" | "ready" | "down" | "gone" | "closed";

/** An engine that does not answer for so long is killed. */
const SILENT_NS = 1_000_000_000;
const EXIT_WITHIN_MS = 5_000;
/** Restarts in a row of engines that did not live for GOOD_NS: then the machine needs somebody else's help. */
const GOOD_NS = 10_000_000_000;

export class EngineHost extends LoadedEngine implements Engine {
  readonly backend: Backend;
  readonly #options: HostOptions;
  #native: NativeEngine;
  #process: EngineProcess | undefined;
  #state: State;
  #totals = new Totals();
  #last: EngineSnapshot | undefined;
  #device: DeviceInfo;
  #features: Feature[] = [];
  #events: EngineEvent[] = [];
  #holds = new Set<"caller" | "safe-mode">();
  #safeMode: SafeModeRule | undefined;
  #clockKey = 0;
  /** As last taken or given: the next engine begins with it. */
  #learned: Uint8Array | undefined;
  #answeredNs = 0;
  #readyNs = 0;
  #restartsInARow = 0;
  #lostNs: number | undefined;
  #reason = "";
  /** Results of lost engines that nobody took yet. */
  #left: Result[] = [];
  readonly #tickets = new Tickets();
  readonly #traces = new Traces();
  /** Of isolated jobs, by id. */
  readonly #workers = new Map<number, EngineHost>();
  #serving: (() => void)[] = [];

  private constructor(options: HostOptions, native: NativeEngine, process: EngineProcess | undefined) {
    super();
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

  protected override get native(): NativeEngine {
    return this.#native;
  }

  protected override get loading(): boolean {
    return this.#state === "loading";
  }

  /** The engine ran before this agent: what is loaded now must be what is there already. */
  get adopted(): boolean {
    return this.#state === "adopting";
  }

  /** The process that holds the engine; 0 while there is none. */
  get processId(): number {
    return this.#state === "down" || this.#state === "gone" ? 0 : this.#native.process();
  }

  get #what(): string {
    return this.#options.what ?? "the engine";
  }

  /** When it was last lost, by the world's clock. */
  get lostNs(): number | undefined {
    return this.#lostNs;
  }

  get restarts(): number {
    return this.#totals.restarts;
  }

  device(): DeviceInfo {
    return this.#device;
  }

  features(): Feature[] {
    if (this.#state !== "down" && this.#state !== "gone") {
      this.#features = this.#try(() => this.#native.features()) ?? this.#features;
    }
    return this.#features;
  }

  jobStep(job: number, step: number): StepInfo {
    // Of an engine that was lost in this moment it is known how its steps ran.
    return this.#workers.get(job)?.jobStep(0, step) ?? this.journal.settled(job)?.[step] ??
      this.#native.jobStep(job, step);
  }

  warmUp(): void {
    if (this.#state === "loading") this.#native.warmUp();
  }

  timing(task: number): Timing {
    return this.#native.timing(task);
  }

  ready(): void {
    if (this.#state === "loading") this.#start(this.#native);
    this.#begin();
    // Now there is somebody to join.
    for (const worker of this.#workers.values()) worker.ready();
  }

  admit(job: number, process: number): void {
    this.#try(() => this.#native.admit(job, process));
  }

  join(page: string): void {
    this.#native.join(page);
  }

  /** The host of an isolated job's process; it is made ready and closed with this one. */
  addWorker(job: number, worker: EngineHost): void {
    this.#workers.set(job, worker);
  }

  /** Resolves once the engine serves. */
  async serving(): Promise<void> {
    if (this.#state !== "ready") await new Promise<void>((done) => this.#serving.push(done));
  }

  // ---- Running

  setPlan(plan: Plan): void {
    const { suspended } = this.#options;
    const entries = suspended === undefined
      ? plan.entries
      : plan.entries.filter(({ job }) => !suspended(job));
    this.#try(() => this.#native.setPlan({ ...plan, entries }));
    // A look at each, which finds out those that are gone.
    for (const worker of this.#workers.values()) worker.snapshot();
  }

  hold(reason: "caller" | "safe-mode", on: boolean): void {
    if (on) this.#holds.add(reason);
    else this.#holds.delete(reason);
    this.#try(() => this.#native.hold(reason, on));
  }

  setSafeMode(rule: SafeModeRule | undefined): void {
    this.#safeMode = rule;
    this.#try(() => this.#native.setSafeMode(rule));
  }

  takeLearned(): Uint8Array {
    const learned = this.#try(() => this.#native.takeLearned());
    if (learned !== undefined) this.#learned = learned;
    return learned ?? new Uint8Array();
  }

  giveLearned(bytes: Uint8Array): number {
    this.#learned = bytes;
    return this.loading ? this.#native.giveLearned(bytes) : 0;
  }

  setClocks(key: number): void {
    this.#clockKey = key;
    this.#try(() => this.#native.setClocks(key));
  }

  submit(kind: WorkKind, work: number, input: Uint8Array, sensorNs: number): number | undefined {
    const worker = kind === "background" ? this.#workers.get(work) : undefined;
    const number = worker === undefined
      ? this.#try(() => this.#native.submit(kind, work, input, sensorNs))
      : worker.submit(kind, 0, input, sensorNs);
    return number === undefined ? undefined : this.#totals.numberOf(kind, work, number);
  }

  takeResults(maxBytes?: number): Result[] {
    if (this.#left.length > 0) return this.#left.splice(0);
    const own = this.#state === "gone" ? [] : this.#take(maxBytes);
    const theirs = [...this.#workers].flatMap(([work, worker]) => {
      const results = worker.takeResults(maxBytes).map((result) =>
        this.#totals.renumber({ ...result, work })
      );
      return this.#tickets.hand(results, worker);
    });
    return [...own, ...theirs];
  }

  releaseResults(position: number): void {
    this.#tickets.release(position);
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
    // What workers have to tell the engine tells itself.
    for (const worker of this.#workers.values()) worker.takeEvents();
    return [...events, ...this.#events.splice(0)];
  }

  takeTrace(from: number): TracePart {
    return this.#traces.take(from, (at) => this.#try(() => this.#native.takeTrace(at)), this.#totals);
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
    for (const worker of this.#workers.values()) worker.close();
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

  /** The agent is about to end: the engine ends with it, also if it does not come to close it. */
  ends(): void {
    for (const worker of this.#workers.values()) worker.ends();
    this.#try(() => this.#native.keep(0));
  }

  /** Leaves the engine running for the next agent. */
  leave(): void {
    if (this.#state === "closed") return;
    if (this.#state !== "ready") return this.close();
    this.#state = "closed";
    for (const worker of this.#workers.values()) worker.leave();
    this.#native.detach();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #start(native: NativeEngine): void {
    const { begin } = this.#options;
    if (begin === undefined) native.ready();
    else begin(native);
  }

  #take(maxBytes?: number): Result[] {
    const native = this.#native;
    const results = native.takeResults(maxBytes).map((result) => this.#totals.renumber(result));
    return this.#tickets.hand(results, native);
  }

  /** The engine is ready: how its jobs run is kept, and whoever comes next finds out what it is. */
  #begin(): void {
    const { world } = this.#options;
    this.#state = "ready";
    this.#readyNs = this.#answeredNs = world.nowNs();
    for (const { spec, id } of this.journal.works) {
      if (spec.kind !== "background") continue;
      const steps = this.#try(() => spec.steps.map((_, step) => this.#native.jobStep(id, step)));
      if (steps !== undefined) this.journal.settle(id, steps);
    }
    this.#try(() => this.#native.setNote(writeNote({ key: this.#options.key, totals: this.#totals })));
    // Even of one that is lost in the next moment it is known what it had.
    this.#last = this.#look() ?? this.#last;
    for (const done of this.#serving.splice(0)) done();
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
    this.#lostNs = world.nowNs();
    // A fault that came with the end.
    this.#events.push(...this.takeEvents());
    const reason = this.#reason === "" ? "its process has ended or does not answer" : this.#reason;
    this.#reason = "";
    try {
      this.#native.kill();
    } catch (error) {
      log.warn(`the lost engine's process cannot be killed: ${(error as Error).message}`);
    }
    const last = lastOf(this.#native);
    this.#last = last ?? this.#last;
    this.#report(1, 0, reason);
    const suspects = (this.#last?.jobs ?? []).flatMap(({ outstanding }, id) => outstanding > 0 ? [id] : []);
    if (world.nowNs() > this.#readyNs + GOOD_NS) this.#restartsInARow = 0;
    this.#options.onSuspects?.(suspects, reason);
    this.#restart(reason).catch((error) => {
      this.#state = "gone";
      log.error(`${this.#what} is lost for good: ${error instanceof Error ? error.message : String(error)}`);
    });
  }

  async #restart(reason: string): Promise<void> {
    const { world, open, log, whenPossible } = this.#options;
    for (;;) {
      const pauseMs = (this.#options.pauseMs ?? usualPauseMs)(++this.#restartsInARow, reason);
      if (pauseMs === undefined) {
        throw new Error(`it was started again ${this.#restartsInARow - 1} times; the last reason: ${reason}`);
      }
      // GPU memory is free again when the process has ended.
      await Promise.race([this.#process?.exited, world.pause(EXIT_WITHIN_MS)]);
      if (pauseMs > 0) await world.pause(pauseMs);
      await whenPossible?.();
      if (this.#state === "closed") return;
      const process = world.spawn();
      try {
        const native = await connect(world, open, process);
        await this.journal.replay(native, world);
        teach(native, this.#learned, log);
        this.#start(native);
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
    for (const { spec, id } of this.journal.works) native.expectWork(id, spec);
    // What the lost one had done is taken out before its page goes.
    for (let left = this.#take(); left.length > 0; left = this.#take()) this.#left.push(...left);
    this.#tickets.forget(this.#native);
    this.#traces.lose(this.#native.takeTrace(0), this.#totals);
    this.#native.close();
    const servedNs = world.nowNs();
    const outageNs = servedNs - (this.#last?.nowNs ?? servedNs);
    if (this.#last !== undefined && this.#options.continues !== true) {
      this.#totals.lose(this.#last, servedNs, arrivalsOf(this.journal.works, this.#last));
    }
    this.#native = native;
    this.#process = process;
    this.#last = undefined;
    this.#watch(process);
    this.#begin();
    if (this.#safeMode !== undefined) this.setSafeMode(this.#safeMode);
    for (const reason of this.#holds) this.hold(reason, true);
    if (this.#clockKey !== 0) this.setClocks(this.#clockKey);
    this.#report(2, outageNs, "");
  }

  #report(a: number, b: number, text: string): void {
    const timeNs = this.#options.world.nowNs();
    this.#events.push({ sequence: 0, timeNs, kind: "engine", source: undefined, a, b, text });
  }
}
