/**
 * How does a mission run, from the first check to the last result?
 *
 * Load everything, bind the port, see whether deadlines can be met, open the outputs, make the engine ready, then three loops: plan, drain, serve. On a
 * stop: hold background, take what is left, close the engine, write what waits, sum up. On an error before `ready`
 * all is undone in reverse, down to the files that were made. The loops own nothing that is critical: if this process stalls, critical work goes on and background stops
 * when the lease ends. Time comes from `Timers`, so that tests need no clock.
 */
import type { Engine, EngineSnapshot } from "../ffi/engine.ts";
import { EngineError } from "../ffi/errors.ts";
import type { BindDatagrams } from "../jetson/mavlink/udp.ts";
import { admit } from "./admit.ts";
import type { SampleSource } from "./board_power.ts";
import type { CheckpointCompiler } from "./checkpoint.ts";
import { type Counters, createCounters } from "./counters.ts";
import { EventLog } from "./events.ts";
import { type FlightStore, STORE_MS } from "./flight_store.ts";
import { InputError } from "./errors.ts";
import { settleLevels } from "./levels.ts";
import { ForeignAccounts, type ForeignReport } from "./foreign/accounts.ts";
import type { ForeignSource } from "./foreign/foreign.ts";
import type { ForeignView } from "./foreign/status.ts";
import { runningAgent } from "./http/running_agent.ts";
import { createApp, type Handler } from "./http/app.ts";
import { EventHistory } from "./http/history.ts";
import { ResultWaiters } from "./http/result_waiters.ts";
import type { Page } from "./http/routes.ts";
import { serveHttp } from "./http/server.ts";
import { isRemote } from "./http/settings.ts";
import type { Logger } from "./log.ts";
import { needsMemory } from "./memory.ts";
import { MIN_TICK_NS, type Planner, tickNs } from "./planner.ts";
import { createPlanner } from "./planning.ts";
import { type OpenConditions, openConditions } from "./open_conditions.ts";
import {
  builtInPolicy,
  type MissionFiles,
  type PreparedMission,
  prepareMission,
  type Seat,
} from "./prepare.ts";
import { BUILT_IN, type ProfileName } from "./profile.ts";
import { drain } from "./pump.ts";
import { describeFlight, type FlightTap, type Recorder } from "./record.ts";
import { armedIn, FileWatch, WATCH_MS } from "./reload/file_watch.ts";
import { LiveSettings, liveValuesOf } from "./reload/live_settings.ts";
import { Orders } from "./orders.ts";
import type { ReloadSource } from "./reload/reload_source.ts";
import { Reloader } from "./reload/reloader.ts";
import { type RunSummary, summarize } from "./summary.ts";
import type { Timers } from "./timers.ts";

export interface SuperviseOptions {
  /** Open, not ready; closed here in every case. */
  engine: Engine;
  checkpoint: CheckpointCompiler;
  files: MissionFiles;
  log: Logger;
  version: string;
  /** Of the simulator; `undefined` on a GPU. */
  seed: number | undefined;
  timers: Timers;
  /** Resolves, with the reason, when the run is to end. */
  stop: Promise<string>;
  /** Called before any file is opened, with a line for each critical task on how its deadline is met. */
  onAdmitted?: (lines: readonly string[]) => void;
  /** Called once critical tasks receive requests. `url` is the address of the status, if there is one. */
  onReady?: (prepared: PreparedMission, url: string | undefined) => void;
  /** Each time a plan was made from a snapshot of an engine that works; `nowNs`: the snapshot's. */
  onPlanned?: (nowNs: number) => void;
  /** Whether the engine goes on when the run ends for this reason: the next agent takes it over. Default: never. */
  leaves?: (reason: string) => boolean;
  /** Makes the processes of isolated jobs. */
  seat?: (job: string) => Promise<Seat>;
  /** Records the flight; closed by whoever made it. */
  recorder?: Recorder | undefined;
  /** Keeps what the next run needs; closed by whoever made it. */
  store?: FlightStore | undefined;
  /** SHA-256 of the mission file, for the record. */
  missionDigest?: string;
  /** Takes up changes of the mission while it runs. Absent: what was read holds for the run. */
  reload?: ReloadSource | undefined;
  /** Who else uses the GPU; closed by whoever opened it. `own`: ids of this agent's processes, now. Absent: nobody can. */
  foreign?: { source: ForeignSource; own: () => readonly number[] } | undefined;
  /** The engine ran before this agent: outputs go on where they ended, instead of being set aside. */
  resume?: boolean;
  /** The board's sensors; closed by whoever opened them too. Default: nothing is known of the board. */
  board?: SampleSource | undefined;
  /** Listens for the vehicle. Default: UDP. */
  bind?: BindDatagrams;
  /** What changes over HTTP need. Absent: changes come over the Unix socket only. */
  token?: string | undefined;
  /** Files of the dashboard, by path. Default: none. */
  pages?: ReadonlyMap<string, Page>;
  /** Opens the HTTP server. Default: a real one. */
  serve?: typeof serveHttp;
}

export interface Outcome {
  summary: RunSummary;
  /** Why the run ended by itself; `undefined`: it was stopped. */
  fault: string | undefined;
}

/** Results are taken this often; the engine keeps those that come in between. */
const DRAIN_MS = 10;
/** Critical work in flight at the end gets this long to deliver. */
const LAST_RESULTS_MS = 50;
/** How long the engine is kept for results that are not yet durable: until then it could give them to another agent. */
const SETTLE_MS = 400;
/** How long the CPU references may go on computing outputs after the run (simulator only). */
const REFERENCE_GRACE_MS = 1000;
/** The same if nobody waits at the keyboard: the run ended as planned. */
const PLANNED_END_GRACE_MS = 5000;
/** The reason of a stop that was planned from the start. */
export const TIME_IS_OVER = "its time is over";
const SERVER_GRACE_MS = 500;
/** The last write of state may take this long before the engine is closed; it goes on afterwards. */
const STORE_GRACE_MS = 1000;
/** CALYPTE_E_TIMEOUT and CALYPTE_E_BUSY: the next try may succeed. */
const PASSING: readonly number[] = [-9, -10];

/** Runs a mission until `stop` or a fault of the engine. Throws `InputError` or `EngineError` if it cannot start. */
export async function supervise(options: SuperviseOptions): Promise<Outcome> {
  const { engine, files, log, timers } = options;
  const counters = createCounters();
  const undo: (() => Promise<void> | void)[] = [() => engine.close()];
  try {
    const prepared = await prepareMission({ ...options, counters, output: true });
    await options.store?.give(engine);
    const conditions = await openConditions({ ...options, mission: files.mission });
    undo.push(() => conditions.close());
    const run = new Run(options, prepared, counters, conditions);
    undo.push(() => run.close());
    const { http, file } = files.mission;
    const serve = options.serve ?? serveHttp;
    const server = http === undefined ? undefined : await serve(run.handler, http, file);
    run.url = server?.url;
    if (server !== undefined) undo.push(() => Promise.race([server.close(), timers.pause(SERVER_GRACE_MS)]));
    let settle = () => prepared.discard();
    undo.push(() => settle());
    needsMemory({ file, field: "" }, "the mission as a whole", () => engine.warmUp());
    const admitted = admit({ engine, mission: files.mission, ...prepared, log });
    options.onAdmitted?.(admitted);
    await prepared.open();
    engine.setSafeMode(files.mission.safeMode);
    needsMemory({ file, field: "" }, "the mission as a whole", () => engine.ready());
    settleLevels(engine, prepared.jobs, files.mission.preemptionBoundNs);
    options.recorder?.begin(
      describeFlight(engine, prepared, {
        version: options.version,
        missionDigest: options.missionDigest ?? "",
        profile: engine.backend === "sim" ? BUILT_IN.name : null,
        seed: options.seed ?? null,
      }),
      engine.snapshot().readyNs,
    );
    options.store?.ready(engine.snapshot(), prepared);
    settle = () => prepared.close(Promise.resolve());
    undo.push(() => run.stop());
    run.obey();
    run.start();
    options.onReady?.(prepared, server?.url);

    const reason = await Promise.race([options.stop, run.faulted]);
    log.info(`stopping: ${reason}`);
    const leave = options.leaves?.(reason) ?? false;
    if (!leave) engine.ends?.();
    const snapshot = await run.finish(!leave);
    if (options.store !== undefined) {
      // A disk that hangs must not keep the engine from being closed.
      const over = !leave && run.fault === undefined;
      const kept = options.store.finish(snapshot, counters, reason, over);
      await Promise.race([kept, timers.pause(STORE_GRACE_MS)]);
    }
    run.closeEngine(leave);
    const graceMs = reason === TIME_IS_OVER ? PLANNED_END_GRACE_MS : REFERENCE_GRACE_MS;
    await prepared.close(timers.pause(graceMs));
    const names = namesOf(prepared);
    const summary = summarize({
      snapshot,
      counters,
      seed: options.seed,
      ...profileOf(engine.backend),
      ...names,
      quarantined: options.store?.quarantined() ?? [],
      foreign: run.foreignReport(),
    });
    return { summary, fault: run.fault };
  } finally {
    await undoAll(undo, log);
  }
}

function profileOf(backend: string): { profile?: ProfileName } {
  return backend === "sim" ? { profile: BUILT_IN } : {};
}

/** In reverse. What fails here is logged and does not keep the rest from being undone, nor hide what went wrong before. */
async function undoAll(undo: (() => Promise<void> | void)[], log: Logger): Promise<void> {
  for (const step of undo.reverse()) {
    try {
      await step();
    } catch (error) {
      log.error(error instanceof Error ? error.message : String(error));
    }
  }
}

function both(first: FlightTap, second: FlightTap | undefined): FlightTap {
  if (second === undefined) return first;
  return {
    result: (result) => (first.result(result), second.result(result)),
    event: (event) => (first.event(event), second.event(event)),
    snapshot: (snapshot) => (first.snapshot(snapshot), second.snapshot(snapshot)),
  };
}

function namesOf(prepared: PreparedMission): { tasks: string[]; jobs: string[] } {
  return { tasks: prepared.tasks.map(({ name }) => name), jobs: prepared.jobs.map(({ name }) => name) };
}

/** Of all tasks. */
function missesOf(snapshot: EngineSnapshot | undefined): number {
  return snapshot?.tasks.reduce((sum, { late, dropped, failed }) => sum + late + dropped + failed, 0) ?? 0;
}

/** The loops of one run. */
class Run {
  /** Resolves, with the reason, if the engine cannot go on. */
  readonly faulted: Promise<string>;
  fault: string | undefined;
  /** Of the status server. */
  url: string | undefined;
  readonly handler: Handler;
  readonly #options: SuperviseOptions;
  readonly #prepared: PreparedMission;
  readonly #counters: Counters;
  readonly #conditions: OpenConditions;
  readonly #planner: Planner;
  readonly #live: LiveSettings;
  readonly #foreign: ForeignAccounts;
  #endReload: () => void = () => {};
  #looking = false;
  readonly #events: EventLog;
  readonly #waiters = new ResultWaiters();
  readonly #names: { tasks: string[]; jobs: string[] };
  #fail: (reason: string) => void = () => {};
  #last: EngineSnapshot | undefined;
  #timers: (() => void)[] = [];

  constructor(
    options: SuperviseOptions,
    prepared: PreparedMission,
    counters: Counters,
    conditions: OpenConditions,
  ) {
    const { engine, files, log } = options;
    this.#options = options;
    this.#prepared = prepared;
    this.#counters = counters;
    this.#names = namesOf(prepared);
    this.faulted = new Promise((resolve) => {
      this.#fail = (reason) => {
        if (this.fault === undefined) options.store?.fault(reason);
        this.fault ??= reason;
        resolve(reason);
      };
    });
    const { leaseNs } = files.mission.policy;
    this.#conditions = conditions;
    this.#foreign = new ForeignAccounts(files.mission.foreign, log);
    const live = this.#live = new LiveSettings(liveValuesOf(files), new Orders(options.store));
    this.#planner = createPlanner({
      engine,
      prepared,
      conditions,
      log,
      live,
      barred: options.store && ((job) => options.store!.barred(job)),
      board: options.board,
    });
    // Event ids go on from run to run: a reader of the one before gets all of this one.
    const history = new EventHistory(crypto.randomUUID().slice(0, 8));
    this.#events = new EventLog({ log, counters, leaseNs, ...this.#names, history });
    const { http } = files.mission;
    this.handler = createApp({
      agent: runningAgent({
        ...{ engine, prepared, live, history, version: options.version, waiters: this.#waiters },
        view: () => this.#view(),
        pause: (ms) => options.timers.pause(ms),
        lastSnapshot: () => this.#last,
        quarantined: () => options.store?.quarantined() ?? [],
        board: this.#planner.board,
      }),
      access: {
        listening: () => this.#listening(),
        token: options.token,
        remote: http !== undefined && isRemote(http),
      },
      ...(options.pages === undefined ? {} : { pages: options.pages }),
    });
  }

  /** Before the first plan: what an operator ordered in a run that did not end in order. */
  obey(): void {
    const { engine, log } = this.#options;
    const { jobs, safeModeSince } = this.#live.orders.state();
    this.#obeyPolicy();
    for (const { job, bar, since } of jobs) log.warn(`${job} is ${bar}, as was ordered at ${since}`, { job });
    if (safeModeSince === null) return;
    log.warn(`safe mode is forced, as was ordered at ${safeModeSince}`);
    engine.hold("safe-mode", true);
  }

  #obeyPolicy(): void {
    const { log } = this.#options;
    try {
      const policy = this.#live.obeyPolicy((named) => builtInPolicy(named, ""));
      if (policy !== undefined) log.warn(`the policy is ${policy.name}, as was ordered at ${policy.since}`);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      this.#live.orders.endPolicy();
      log.warn(`the policy is the mission's; the one that was ordered does not fit: ${error.message}`);
    }
  }

  start(): void {
    const { timers, files, store } = this.#options;
    this.#plan();
    this.#timers = [
      timers.every(tickNs(files.mission.policy.leaseNs) / 1e6, () => this.#plan()),
      timers.every(DRAIN_MS, () => this.#drain()),
    ];
    if (store !== undefined) {
      this.#timers.push(timers.every(STORE_MS, () => store.tick(this.#last, this.#counters)));
    }
    this.#prepared.turns.before = () => this.#renew();
    this.#listenForReloads();
    const { foreign } = this.#options;
    if (foreign === undefined) return;
    void this.#lookForOthers();
    this.#timers.push(timers.every(foreign.source.everyMs, () => void this.#lookForOthers()));
  }

  /** `undefined`: nobody else can use the device. */
  foreignReport(): ForeignReport | undefined {
    return this.#options.foreign === undefined ? undefined : this.#foreign.report();
  }

  async #lookForOthers(): Promise<void> {
    const { foreign } = this.#options;
    if (foreign === undefined || this.#looking) return;
    this.#looking = true;
    try {
      const sighting = await foreign.source.look(new Set(foreign.own()));
      this.#foreign.take(sighting, missesOf(this.#last));
    } finally {
      this.#looking = false;
    }
  }

  #listenForReloads(): void {
    const { reload, engine, log, timers, files: { mission } } = this.#options;
    if (reload === undefined) return;
    const setSafeMode = (rule: typeof mission.safeMode) => engine.setSafeMode(rule);
    const reloader = new Reloader({ ...reload, live: this.#live, setSafeMode, log });
    const unsubscribe = reload.subscribe((why) => void reloader.reload(why));
    this.#endReload = () => {
      unsubscribe();
      reloader.end();
    };
    if (reload.watch === undefined) return;
    const told = mission.conditions !== undefined || mission.flight !== undefined;
    const armed = told ? () => armedIn(this.#conditions.phase()) : undefined;
    const changed = () => void reloader.reload("the file has changed");
    const watch = new FileWatch({ ...reload.watch, armed, changed, log });
    this.#timers.push(timers.every(WATCH_MS, () => void watch.look()));
  }

  /** Ends the loops. */
  stop(): void {
    for (const end of this.#timers.splice(0)) end();
    this.#endReload();
    this.#endReload = () => {};
    this.#prepared.turns.before = () => {};
  }

  close(): void {
    this.stop();
    this.#planner.close();
  }

  /** Ends the loops, holds background unless the engine goes on, takes the last results. Returns the state at the moment of the hold. */
  async finish(holds: boolean): Promise<EngineSnapshot> {
    const { engine, timers } = this.#options;
    this.stop();
    this.#guard(() => {
      this.#last = engine.snapshot();
      this.#options.recorder?.snapshot(this.#last);
    });
    if (holds) this.#guard(() => engine.hold("caller", true));
    for (const queue of this.#prepared.queues) queue.stop();
    this.#drain();
    await timers.pause(LAST_RESULTS_MS);
    this.#drain();
    await Promise.race([this.#prepared.settle(), timers.pause(SETTLE_MS)]);
    this.#drain();
    await Promise.all(this.#prepared.queues.map((queue) => queue.settle()));
    if (this.#last === undefined) throw new EngineError(-11, "snapshot", "the engine never answered");
    this.#foreign.settle(missesOf(this.#last));
    return this.#last;
  }

  /** What was measured is still summed up if the engine does not close. */
  closeEngine(leave: boolean): void {
    const { engine } = this.#options;
    try {
      if (leave && engine.leave !== undefined) engine.leave();
      else engine.close();
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  /** A CPU reference is about to hold up this thread: it shall have a whole lease for that, not what is left of one. */
  #renew(): void {
    this.#guard(() => {
      const ageNs = this.#options.engine.snapshot().nowNs - (this.#last?.nowNs ?? 0);
      if (ageNs >= MIN_TICK_NS) this.#plan();
    });
  }

  #plan(): void {
    this.#guard(() => {
      this.#last = this.#planner.tick();
      this.#conditions.report(this.#last);
      this.#options.recorder?.snapshot(this.#last);
      this.#options.store?.snapshot(this.#last, this.#planner.lastPlan);
      this.#counters.policyFaults = this.#planner.policyFaults;
      this.#counters.plansSet = this.#planner.plansSet;
      if (this.#last.state === "fault") this.#fail("the engine reports a fault; see the events before");
      else this.#options.onPlanned?.(this.#last.nowNs);
    });
  }

  #drain(): void {
    this.#guard(() => {
      const { engine, recorder, store } = this.#options;
      const kept = store === undefined ? recorder : both(store, recorder);
      const tap = both({ result: (result) => this.#waiters.take(result), event() {}, snapshot() {} }, kept);
      drain({ engine, prepared: this.#prepared, counters: this.#counters, events: this.#events, tap });
      for (const queue of this.#prepared.queues) void queue.feed();
    });
  }

  /** An engine that answers late is asked again; any other error of it ends the run. */
  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!(error instanceof EngineError)) {
        this.#fail(error instanceof Error ? error.message : String(error));
        this.#options.log.error("a loop of the agent failed", { why: String(error) });
        return;
      }
      this.#counters.engineErrors++;
      this.#options.log.error(error.message);
      if (!PASSING.includes(error.code)) this.#fail(error.message);
    }
  }

  #view(): ForeignView {
    const { engine, store } = this.#options;
    return {
      snapshot: engine.snapshot(),
      counters: this.#counters,
      ...this.#names,
      store: store?.view(),
      foreign: this.foreignReport(),
    };
  }

  /** The port is known once it is bound. */
  #listening() {
    const { http } = this.#options.files.mission;
    if (http?.listen === undefined || this.url === undefined) return undefined;
    return { hostname: http.listen.hostname, port: Number(new URL(this.url).port || 80) };
  }
}
