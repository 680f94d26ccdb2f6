/** The simulated flight: the mission on the simulator in virtual time, with the scripted vehicle through the real parser. */
import { checkpointCompiler } from "../../agent/checkpoint.ts";
import { openEngine } from "../../agent/commands/engines.ts";
import type { Conditions, ConditionsSource } from "../../agent/conditions.ts";
import { loadMission } from "../../agent/config.ts";
import { BusyShare, FlightConditions } from "../../agent/flight.ts";
import type { Logger } from "../../agent/log.ts";
import { totalGpuNs } from "../../agent/policy_snapshot.ts";
import { readMissionFiles } from "../../agent/prepare.ts";
import { readProfile } from "../../agent/profile.ts";
import { simulate } from "../../agent/simulation.ts";
import type { RunSummary } from "../../agent/summary.ts";
import type { Engine } from "../../ffi/mod.ts";
import { MavlinkSource } from "../../jetson/mavlink/source.ts";
import { type Heat, PlainHeat } from "./heat.ts";
import { FLIGHT_S, momentAt } from "./script.ts";
import { ScriptedVehicle } from "./vehicle.ts";

/** One turn of the planner and the time until the next. */
export interface Tick {
  /** When the planner looked. */
  fromS: number;
  toS: number;
  /** What it knew. */
  conditions: Conditions;
  /** Background's share of the GPU until the next. */
  background: number;
}

export interface Response {
  atS: number;
  ms: number;
}

export interface Flight {
  ticks: Tick[];
  responses: Response[];
  summary: RunSummary;
  deadlineMs: number;
  limits: { temperatureC?: number; batteryPercent?: number };
  counts: MavlinkSource["counts"];
}

export interface FlyOptions {
  /** A mission with `flight`. */
  mission: string;
  seed: number;
  profile: string;
  log: Logger;
  /** Default: the whole flight. */
  seconds?: number;
  /** Default: `PlainHeat`. */
  heat?: Heat;
}

export async function fly(options: FlyOptions): Promise<Flight> {
  const { seed, log, seconds = FLIGHT_S, heat = new PlainHeat() } = options;
  const files = await readMissionFiles(await loadMission(options.mission));
  const { flight, stopBackgroundAbove, reserveSms, critical } = files.mission;
  if (flight === undefined) throw new Error(`${options.mission} has no \`flight\``);
  const profile = await readProfile(options.profile);
  const engine = openEngine({ backend: "sim", clock: "virtual", seed, reserveSms, simProfile: profile });
  const vehicle = new MavlinkSource(flight);
  const board = new Surroundings(engine, vehicle, heat);
  const source = new FlightConditions({ look: (nowNs) => vehicle.look(nowNs), flight, others: board, log });
  const ticks: Tick[] = [];
  const responses: Response[] = [];
  let beganNs: number | undefined;
  let looked: { atS: number; conditions: Conditions; usedNs: number } | undefined;
  const used = () => engine.snapshot().jobs.reduce((sum, job) => sum + totalGpuNs(job), 0);
  const secondsOf = (nowNs: number) => (nowNs - (beganNs ??= nowNs)) / 1e9;
  const summary = await simulate({
    engine,
    files,
    log,
    seed,
    checkpoint: checkpointCompiler,
    durationNs: seconds * 1e9,
    output: false,
    profile: { name: profile.name, estimate: profile.estimate },
    conditions: {
      current(nowNs) {
        const atS = secondsOf(nowNs);
        board.moveTo(atS);
        const conditions = source.current(nowNs);
        looked = { atS, conditions, usedNs: used() };
        return conditions;
      },
    },
    onTime: () => {
      const { nowNs } = engine.snapshot();
      if (looked === undefined) return;
      const toS = secondsOf(nowNs);
      const background = (used() - looked.usedNs) / 1e9 / (toS - looked.atS);
      ticks.push({ fromS: looked.atS, toS, conditions: looked.conditions, background });
    },
    tap: {
      result({ kind, arrivalNs, doneNs }) {
        if (kind === "critical") {
          responses.push({ atS: secondsOf(arrivalNs), ms: (doneNs - arrivalNs) / 1e6 });
        }
      },
      event: () => {},
      snapshot: () => {},
    },
  });
  const deadlineMs = Math.min(...critical.map(({ deadlineNs }) => deadlineNs)) / 1e6;
  return { ticks, responses, summary, deadlineMs, limits: stopBackgroundAbove, counts: vehicle.counts };
}

/** What is around the vehicle's computer: its line to the autopilot, and heat. */
class Surroundings implements ConditionsSource {
  readonly #script = new ScriptedVehicle();
  readonly #busy = new BusyShare();
  readonly #engine: Engine;
  readonly #vehicle: MavlinkSource;
  readonly #heat: Heat;
  #atS = 0;
  #celsius: number | undefined;

  constructor(engine: Engine, vehicle: MavlinkSource, heat: Heat) {
    this.#engine = engine;
    this.#vehicle = vehicle;
    this.#heat = heat;
  }

  moveTo(second: number): void {
    for (const datagram of this.#script.until(second)) this.#vehicle.receive(datagram);
    const busy = this.#busy.next(this.#engine.snapshot()) ?? 0;
    this.#celsius = this.#heat.next(second - this.#atS, busy, momentAt(second).ambientC);
    this.#atS = second;
  }

  current(): Conditions {
    return { phase: "unknown", ...(this.#celsius === undefined ? {} : { temperatureC: this.#celsius }) };
  }
}
