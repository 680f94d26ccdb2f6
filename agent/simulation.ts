/**
 * How would a mission run on the simulator, in virtual time?
 *
 * The same loading, planning and counting as a real run, but time moves only as this loop says: the same mission and
 * seed give the same summary, byte for byte, on any machine. Nothing here reads a clock.
 */
import type { Engine } from "../ffi/engine.ts";
import type { FlightState } from "../jetson/flight_state.ts";
import { admit } from "./admit.ts";
import { modelledBoard } from "./board_simulated.ts";
import type { SampleSource } from "./board_power.ts";
import type { CheckpointCompiler } from "./checkpoint.ts";
import { type ConditionsSource, fixedConditions, NO_CONDITIONS } from "./conditions.ts";
import type { Mission } from "./config.ts";
import { createCounters } from "./counters.ts";
import { EventLog } from "./events.ts";
import { type Faults, NO_FAULTS } from "./faults.ts";
import { FlightConditions } from "./flight.ts";
import type { Logger } from "./log.ts";
import { needsMemory } from "./memory.ts";
import { tickNs } from "./planner.ts";
import { createPlanner } from "./planning.ts";
import { type MissionFiles, type PreparedMission, prepareMission } from "./prepare.ts";
import { BUILT_IN, type ProfileName } from "./profile.ts";
import type { FlightTap } from "./record.ts";
import { discard, drain, release } from "./pump.ts";
import { type RunSummary, summarize } from "./summary.ts";

export interface SimulateOptions {
  /** Open on the simulator with a virtual clock, not ready; closed here in every case. */
  engine: Engine;
  checkpoint: CheckpointCompiler;
  files: MissionFiles;
  log: Logger;
  seed: number;
  /** Virtual time to run for. */
  durationNs: number;
  /** Compute and write outputs as the mission says. */
  output: boolean;
  /** Called before any file is opened, with a line for each critical task on how its deadline is met. */
  onAdmitted?: (lines: readonly string[]) => void;
  /** What the engine was opened with, for the summary. Default: the built-in one. */
  profile?: ProfileName;
  /** Only the planner's are carried out here; the engine was opened with the others. */
  faults?: Faults;
  /** Before the engine is warmed up: what a recorded flight did is done again. */
  replay?: (prepared: PreparedMission) => void;
  /** Watches the flight. */
  tap?: FlightTap | undefined;
  /** What goes on around the GPU. Default: what the mission's file says at the start; of a vehicle, nothing is known. */
  conditions?: ConditionsSource;
  /** The board's sensors. Default: a modelled board, if the mission has limits and names no source of conditions. */
  board?: SampleSource;
  /** Called as virtual time moves on. */
  onTime?: (nowNs: number) => void;
}

/** Throws `InputError` or `EngineError`. */
export async function simulate(options: SimulateOptions): Promise<RunSummary> {
  const { engine, files, log, durationNs, output, tap } = options;
  const counters = createCounters();
  try {
    // Virtual time waits for no disk.
    const prepared = await prepareMission({ ...options, counters, durable: false });
    let started = false;
    try {
      const tasks = prepared.tasks.map(({ name }) => name);
      const jobs = prepared.jobs.map(({ name }) => name);
      const { leaseNs } = files.mission.policy;
      const conditions = options.conditions ?? await conditionsOf(files.mission, log);
      using planner = createPlanner({
        engine,
        prepared,
        conditions,
        log,
        board: options.board ?? modelledBoard(files.mission, log),
      });
      const events = new EventLog({ log, counters, leaseNs, tasks, jobs });
      const whole = { file: files.mission.file, field: "" };
      options.replay?.(prepared);
      needsMemory(whole, "the mission as a whole", () => engine.warmUp());
      const admitted = admit({ engine, mission: files.mission, ...prepared, log });
      options.onAdmitted?.(admitted);
      await prepared.open();
      engine.setSafeMode(files.mission.safeMode);
      needsMemory(whole, "the mission as a whole", () => engine.ready());
      started = true;
      for (let nowNs = 0; nowNs < durationNs;) {
        await planner.settled();
        if (!stalled(options.faults ?? NO_FAULTS, nowNs)) planner.tick();
        nowNs = Math.min(durationNs, nowNs + tickNs(leaseNs));
        engine.advance(nowNs);
        options.onTime?.(nowNs);
        if (output || tap !== undefined) drain({ engine, prepared, counters, events, tap });
        else discard({ engine, counters, events });
        // Virtual time waits for the references, so that no output is skipped for lack of real time, and the room in
        // the engine's store does not depend on it.
        if (output) {
          await prepared.settle();
          release(engine, prepared.ledger);
        }
      }
      counters.policyFaults = planner.policyFaults;
      counters.plansSet = planner.plansSet;
      const snapshot = engine.snapshot();
      tap?.snapshot(snapshot);
      await prepared.close();
      return summarize({
        snapshot,
        counters,
        seed: options.seed,
        profile: options.profile ?? BUILT_IN,
        tasks,
        jobs,
      });
    } catch (error) {
      await (started ? prepared.close(Promise.resolve()) : prepared.discard());
      throw error;
    }
  } finally {
    engine.close();
  }
}

/** A vehicle's datagrams come in real time; here there is none. */
async function conditionsOf({ conditions, flight, file }: Mission, log: Logger): Promise<ConditionsSource> {
  const others = conditions === undefined ? NO_CONDITIONS : await fixedConditions(conditions.file);
  if (flight === undefined) return others;
  log.warn(
    `${file}: flight: there is no vehicle in virtual time, so the phase is not known; ` +
      "to try phases, leave `flight` out and give `conditions`, or fly bench/flight.ts",
  );
  const look = (): FlightState => ({ phase: "unknown", armed: undefined, sinceNs: 0, linkAgeNs: Infinity });
  return new FlightConditions({ look, flight, others, log });
}

function stalled({ stalledPlanner }: Faults, nowNs: number): boolean {
  return stalledPlanner !== undefined && nowNs >= stalledPlanner.beginNs && nowNs < stalledPlanner.endNs;
}
