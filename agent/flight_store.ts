/**
 * What of a flight goes into the store, and what of earlier ones comes out?
 *
 * Knows engine, mission and metrics on one side and the store on the other. Everything here is called from the agent's loops
 * and returns at once: the store's one writer does the writing, every few seconds. Without a store nothing calls it.
 */
import type { Engine, EngineEvent, EngineSnapshot, Plan, Result } from "../ffi/engine.ts";
import { BoxThrottle, eventEntry, planEntry, snapshotEntry, type WorkNames } from "./box_entries.ts";
import type { Counters } from "./counters.ts";
import { InputError } from "./errors.ts";
import type { SuspectsKeeper, SuspectsState } from "./input_suspects.ts";
import type { Logger } from "./log.ts";
import { agentCounts, engineCounts } from "./metric_counts.ts";
import type { StoreView } from "./metrics.ts";
import { NO_ORDERS, type OrdersKeeper, type OrdersState, parseOrders } from "./orders.ts";
import type { MissionFiles } from "./prepare.ts";
import type { FlightTap } from "./record.ts";
import { type Counts, Lifetime, type LifetimeState, parseLifetime } from "./store/lifetime.ts";
import { parseQuarantine, Quarantine, type Quarantined, type Verdict } from "./store/quarantine.ts";
import { KeptSuspects } from "./kept_suspects.ts";
import { QUARANTINE, QUARANTINE_VERSION } from "./store/release.ts";
import { messageOf } from "./store/sections.ts";
import { Store, StoreTakenError } from "./store/store.ts";

/** An engine that can say what it learned: bytes that mean something to an engine on the same device only. */
export interface LearnedEngine {
  takeLearned(): Uint8Array;
  /** How much of it was taken up. */
  giveLearned(bytes: Uint8Array): number;
}

/** How often the supervisor calls `tick`. */
export const STORE_MS = 2000;
const TICKS_PER_COUNTERS = 5;
const TICKS_PER_LEARNED = 30;
const VERSION = 1;
const ORDERS = "orders";

interface CountersState {
  starts: number;
  agent: LifetimeState;
  engine: LifetimeState;
}

export interface FlightStoreOptions {
  store: Store;
  dir: string;
  log: Logger;
  /** The wall clock, for people: ISO 8601. */
  stamp: () => string;
  /** On the engine's clock. */
  nowNs: number;
}

export class FlightStore implements FlightTap, SuspectsKeeper, OrdersKeeper, AsyncDisposable {
  readonly #options: FlightStoreOptions;
  readonly #store: Store;
  readonly #quarantine: Quarantine;
  readonly #suspects: KeptSuspects;
  readonly orders: OrdersState | undefined;
  readonly #throttle = new BoxThrottle();
  #names: WorkNames = { tasks: [], jobs: [] };
  #digests: readonly string[] = [];
  #starts = 1;
  #agent = new Lifetime(undefined);
  #engine = new Lifetime(undefined);
  #progress = new Lifetime(undefined);
  #source: (Partial<LearnedEngine> & Pick<Engine, "backend" | "device">) | undefined;
  #lastPlan = "";
  #nowNs: number;
  #ticks = 0;
  #learnedFailed = false;

  private constructor(
    options: FlightStoreOptions,
    quarantine: Quarantine,
    suspects: KeptSuspects,
    orders: OrdersState | undefined,
  ) {
    this.#options = options;
    this.#store = options.store;
    this.#quarantine = quarantine;
    this.#suspects = suspects;
    this.orders = orders;
    this.#nowNs = options.nowNs;
  }

  /**
   * `undefined`, with a warning: there can be no store in that folder; the run goes on without. Throws `InputError` if
   * another agent has it.
   */
  static async open(
    files: MissionFiles,
    options: Omit<FlightStoreOptions, "store">,
  ): Promise<FlightStore | undefined> {
    const { dir, log, stamp, nowNs } = options;
    const store = await openFolder(dir, files.mission.file, log);
    if (store === undefined) return undefined;
    const digests = new Map(
      files.mission.background.map(({ name }) => [name, files.bundles.get(name)?.digestHex ?? ""]),
    );
    const kept = await store.sections.readJson(QUARANTINE, QUARANTINE_VERSION, parseQuarantine);
    const quarantine = new Quarantine(digests, kept, nowNs, { stamp });
    const suspects = await KeptSuspects.of(store, digests);
    const orders = await store.sections.readJson(ORDERS, VERSION, parseOrders);
    const made = new FlightStore({ ...options, store }, quarantine, suspects, orders);
    await made.#readCounters();
    return made;
  }

  /** The mission without the jobs in quarantine. Throws `InputError` if nothing is left. */
  without(files: MissionFiles): MissionFiles {
    const all = this.#quarantine.all();
    if (all.length === 0) return files;
    for (const { job, count, since, reason } of all) {
      this.#options.log.warn(
        `${job} is left out: it is in quarantine since ${since} after ${count} failures: ${reason}`,
        { job },
      );
    }
    const background = files.mission.background.filter(({ name }) => !this.barred(name));
    if (background.length + files.mission.critical.length === 0) {
      throw new InputError({
        file: files.mission.file,
        field: "background",
        rule: "has no job that is not in quarantine",
        remedy: `mend the bundles, or remove ${this.#options.dir}/${QUARANTINE}.section`,
      });
    }
    const bundles = new Map([...files.bundles].filter(([name]) => !this.barred(name)));
    return { ...files, bundles, mission: { ...files.mission, background } };
  }

  /** All is loaded, nothing runs yet: gives the engine what was learned. */
  async give(engine: Engine & Partial<LearnedEngine> & { adopted?: boolean }): Promise<void> {
    this.#source = engine;
    // Counts of an engine that outlived its agent go on; those of any other begin again.
    if (engine.adopted !== true) this.#engine = new Lifetime(withoutEpoch(this.#engine));
    if (engine.adopted !== true) this.#progress = new Lifetime(withoutEpoch(this.#progress));
    if (engine.giveLearned === undefined) return;
    const kept = await this.#store.sections.read("learned", VERSION);
    const bytes = kept === undefined ? undefined : unwrap(kept, deviceKey(engine));
    if (bytes === undefined) return;
    try {
      engine.giveLearned(bytes);
    } catch (error) {
      this.#options.log.warn(`what was learned in earlier runs is of no use: ${messageOf(error)}`);
    }
  }

  /** Critical tasks receive requests. */
  ready(
    snapshot: EngineSnapshot,
    prepared: { tasks: readonly { name: string }[]; jobs: readonly LoadedJob[] },
  ): void {
    this.#names = {
      tasks: prepared.tasks.map(({ name }) => name),
      jobs: prepared.jobs.map(({ name }) => name),
    };
    this.#digests = prepared.jobs.map(({ bundle }) => bundle.digestHex);
    this.#nowNs = snapshot.nowNs;
    this.#record("start", { start: this.#starts, at: this.#options.stamp(), ...this.#names });
    void this.#store.writer.flush();
  }

  snapshot(snapshot: EngineSnapshot, plan?: Plan): void {
    this.#nowNs = snapshot.nowNs;
    const leftOut = this.#throttle.snapshot(snapshot.nowNs);
    if (leftOut === undefined) return;
    const text = JSON.stringify([plan?.entries, plan?.dutyPermille]);
    if (plan !== undefined && text !== this.#lastPlan) {
      this.#lastPlan = text;
      this.#store.writer.record(planEntry(plan, snapshot.nowNs, this.#names));
    }
    this.#store.writer.record(snapshotEntry(snapshot, this.#names, leftOut));
  }

  event(event: EngineEvent): void {
    if (!this.#throttle.event()) return;
    this.#store.writer.record(eventEntry(event));
    if (event.kind === "fault" || event.kind === "engine" || event.kind === "watchdog") {
      void this.#store.writer.flush();
    }
  }

  result(_result: Result): void {
    // The record (record.ts) has results; the black box has their counts.
  }

  /** The run cannot go on. */
  fault(reason: string): void {
    this.#record("fault", { reason });
    void this.#store.writer.flush();
  }

  /**
   * A job failed, whatever took it. The caller starts it again after the pause, or not at all: it gets no plan from now on.
   * Kept at once. Throws `RangeError` if the mission has no such job.
   */
  failed(job: string, reason: string, nowNs: number): Verdict {
    const verdict = this.#quarantine.failed(job, reason, nowNs);
    this.#nowNs = Math.max(this.#nowNs, nowNs);
    this.#record("job-failed", { job, reason, verdict: verdict.kind });
    if (verdict.kind === "quarantined") {
      const { count } = verdict.entry;
      this.#options.log.error(`${job} is in quarantine: it failed ${count} times: ${reason}`, { job });
    }
    this.#putQuarantine();
    void this.#store.writer.flush();
    return verdict;
  }

  /** Kept at once: what a job's process died of was an input, which has been put away. */
  forgive(job: string): void {
    this.#quarantine.forgive(job);
    this.#record("job-forgiven", { job });
    this.#putQuarantine();
    void this.#store.writer.flush();
  }

  suspectsOf(job: string, dir: string): SuspectsState | undefined {
    return this.#suspects.suspectsOf(job, dir);
  }

  keepSuspects(job: string, dir: string, state: SuspectsState): void {
    this.#suspects.keepSuspects(job, dir, state);
  }

  keepOrders(state: OrdersState): void {
    this.#store.writer.putJson(ORDERS, VERSION, state);
    void this.#store.writer.flush();
  }

  stamp(): string {
    return this.#options.stamp();
  }

  /** False: it was not in quarantine. One that was left out at the start comes back at the next one. */
  release(job: string): boolean {
    const done = this.#quarantine.release(job);
    this.#putQuarantine();
    void this.#store.writer.flush();
    return done;
  }

  /** In quarantine: no plan for it. */
  barred(job: string): boolean {
    return this.#quarantine.of(job) !== undefined;
  }

  /** Every STORE_MS. */
  tick(snapshot: EngineSnapshot | undefined, counters: Counters): void {
    this.#ticks++;
    if (snapshot !== undefined) {
      this.#count(snapshot, counters);
      if (this.#ticks % TICKS_PER_COUNTERS === 0) this.#putCounters();
      if (this.#ticks % TICKS_PER_LEARNED === 0) this.#putLearned();
    }
    void this.#store.writer.flush();
  }

  /**
   * While the engine is still open. Everything is on disk when it resolves. Never rejects. `ends`: the run is over, and with it
   * what was ordered; else the next agent goes on with it.
   */
  async finish(snapshot: EngineSnapshot, counters: Counters, reason: string, ends = true): Promise<void> {
    this.#nowNs = snapshot.nowNs;
    this.#count(snapshot, counters);
    this.#putCounters();
    this.#putLearned();
    this.#putQuarantine();
    if (ends) this.#store.writer.putJson(ORDERS, VERSION, NO_ORDERS);
    this.#store.writer.record(snapshotEntry(snapshot, this.#names, 0));
    this.#record("end", { reason, at: this.#options.stamp() });
    await this.#store.writer.flush();
  }

  /** May be called twice. Never rejects. */
  async close(): Promise<void> {
    this.#source = undefined;
    await this.#store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  quarantined(): readonly Quarantined[] {
    return this.#quarantine.all();
  }

  view(): StoreView {
    const { errors, recordsLost } = this.#store.writer;
    return {
      dir: this.#options.dir,
      starts: this.#starts,
      errors,
      recordsLost,
      quarantine: this.#quarantine.all(),
      total: { ...this.#agent.total, ...this.#engine.total },
      progress: Object.fromEntries(
        this.#names.jobs.map((name, id) => [name, this.#progress.total[this.#progressKey(id)] ?? 0]),
      ),
    };
  }

  async #readCounters(): Promise<void> {
    const { sections } = this.#store;
    const kept = await sections.readJson("counters", VERSION, parseCounters);
    this.#starts = (kept?.starts ?? 0) + 1;
    this.#agent = new Lifetime(kept?.agent);
    this.#engine = new Lifetime(kept?.engine);
    this.#progress = new Lifetime(await sections.readJson("progress", VERSION, parseLifetime));
    this.#putCounters();
  }

  #count(snapshot: EngineSnapshot, counters: Counters): void {
    const epoch = `${snapshot.readyNs}`;
    this.#agent.update(`start ${this.#starts}`, agentCounts(counters));
    this.#engine.update(epoch, engineCounts(snapshot, this.#names));
    const units: Record<string, number> = {};
    for (const [id, job] of snapshot.jobs.entries()) units[this.#progressKey(id)] = job.units;
    this.#progress.update(epoch, units as Counts);
  }

  #progressKey(id: number): string {
    return `${this.#names.jobs[id]} ${this.#digests[id]}`;
  }

  #putCounters(): void {
    const [agent, engine] = [this.#agent.state(), this.#engine.state()];
    const state: CountersState = { starts: this.#starts, agent, engine };
    this.#store.writer.putJson("counters", VERSION, state);
    this.#store.writer.putJson("progress", VERSION, this.#progress.state());
  }

  #putQuarantine(): void {
    this.#store.writer.putJson(QUARANTINE, QUARANTINE_VERSION, this.#quarantine.state(this.#nowNs));
  }

  #putLearned(): void {
    if (this.#source?.takeLearned === undefined || this.#learnedFailed) return;
    try {
      const bytes = this.#source.takeLearned();
      if (bytes.length > 0) this.#store.writer.put("learned", VERSION, wrap(bytes, deviceKey(this.#source)));
    } catch (error) {
      this.#learnedFailed = true;
      this.#options.log.warn(`what the engine learned cannot be kept: ${messageOf(error)}`);
    }
  }

  #record(kind: string, fields: Record<string, unknown>): void {
    this.#store.writer.record({ timeNs: this.#nowNs, kind, ...fields });
  }
}

type LoadedJob = { name: string; bundle: { digestHex: string } };

async function openFolder(dir: string, missionFile: string, log: Logger): Promise<Store | undefined> {
  try {
    return await Store.open(dir, { warn: (text) => log.warn(text), note: (text) => log.info(text) });
  } catch (error) {
    if (!(error instanceof StoreTakenError)) throw error;
    throw new InputError({
      file: missionFile,
      field: "state.dir",
      rule: error.message,
      remedy: "stop that agent first, or give this mission another folder",
    }, { cause: error });
  }
}

function withoutEpoch(lifetime: Lifetime): LifetimeState {
  return { ...lifetime.state(), epoch: "", last: {} };
}

function parseCounters(value: unknown): CountersState {
  const { starts, agent, engine } = (value ?? {}) as Record<string, unknown>;
  if (typeof starts !== "number" || !Number.isSafeInteger(starts) || starts < 0) {
    throw new TypeError("it holds no number of starts");
  }
  return { starts, agent: parseLifetime(agent), engine: parseLifetime(engine) };
}

/** What one device taught says nothing about another. */
function deviceKey(engine: Pick<Engine, "backend" | "device">): string {
  return JSON.stringify([engine.backend, engine.device().name]);
}

function wrap(bytes: Uint8Array, key: string): Uint8Array {
  const head = new TextEncoder().encode(`${key}\n`);
  const whole = new Uint8Array(head.length + bytes.length);
  whole.set(head);
  whole.set(bytes, head.length);
  return whole;
}

/** `undefined`: it is of another device. */
function unwrap(whole: Uint8Array, key: string): Uint8Array | undefined {
  const head = new TextEncoder().encode(`${key}\n`);
  const same = head.every((byte, index) => byte === whole[index]);
  return same ? whole.slice(head.length) : undefined;
}
