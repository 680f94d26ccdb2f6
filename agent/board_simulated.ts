/**
 * What would a board's sensors say, on the simulator?
 *
 * A thermal model (jetson/thermal_model.ts) fed with what the simulated GPU did, in the snapshots' time. Nothing of it is measured, and none of
 * its numbers is a real board's: it is there so that a mission with `stopBackgroundAbove` can be tried without one.
 */
import type { EngineSnapshot } from "../ffi/engine.ts";
import type { TelemetrySample } from "../jetson/telemetry.ts";
import {
  boardWatts,
  FANLESS_BOARD,
  restAt,
  type ThermalModel,
  type ThermalState,
  throttled,
  warm,
} from "../jetson/thermal_model.ts";
import type { SampleSource } from "./board_power.ts";
import type { Mission } from "./config.ts";
import type { Logger } from "./log.ts";
import { totalGpuNs } from "./policy_snapshot.ts";

export interface SimulatedBoardOptions {
  /** Default: a small board without a fan. */
  model?: ThermalModel;
  /** Of the air, by time since `ready`. Default: 25 C. */
  ambientC?: (sinceReadyNs: number) => number;
  /** W while critical work has the GPU. Default 8. */
  criticalWatts?: number;
  /** W while a job has the whole GPU, by its id. Default 9. */
  jobWatts?: (job: number) => number;
}

/** For a mission whose limits would otherwise be about nothing: one that names a source of conditions means that one. */
export function modelledBoard(
  { conditions, stopBackgroundAbove }: Pick<Mission, "conditions" | "stopBackgroundAbove">,
  log: Logger,
): SimulatedBoard | undefined {
  const { temperatureC, powerW } = stopBackgroundAbove;
  const wanted = conditions === undefined && (temperatureC !== undefined || powerW !== undefined);
  if (!wanted) return undefined;
  log.info("temperature and power are those of a model, not of any board", { event: "board-simulated" });
  return new SimulatedBoard();
}

const CRITICAL_WATTS = 8;
const JOB_WATTS = 9;

export class SimulatedBoard implements SampleSource {
  readonly #options: Required<SimulatedBoardOptions>;
  #thermal: ThermalState;
  #before: EngineSnapshot | undefined;
  #sample: TelemetrySample | undefined;
  /** Time in which the model was beyond its trip point. */
  throttledNs = 0;

  constructor(options: SimulatedBoardOptions = {}) {
    this.#options = {
      model: FANLESS_BOARD,
      ambientC: () => 25,
      criticalWatts: CRITICAL_WATTS,
      jobWatts: () => JOB_WATTS,
      ...options,
    };
    this.#thermal = restAt(this.#options.ambientC(0));
  }

  latest(snapshot: EngineSnapshot): TelemetrySample {
    const before = this.#before;
    if (before !== undefined && snapshot.nowNs === before.nowNs && this.#sample !== undefined) {
      return this.#sample;
    }
    const { model, ambientC } = this.#options;
    const elapsedNs = before === undefined ? 0 : snapshot.nowNs - before.nowNs;
    const workWatts = before === undefined || elapsedNs <= 0
      ? 0
      : this.#workWatts(before, snapshot, elapsedNs);
    const ambient = ambientC(Math.max(0, snapshot.nowNs - snapshot.readyNs));
    this.#thermal = warm(model, this.#thermal, { workWatts, ambientC: ambient, seconds: elapsedNs / 1e9 });
    if (throttled(model, this.#thermal) < 1) this.throttledNs += elapsedNs;
    this.#before = snapshot;
    this.#sample = {
      timeNs: snapshot.nowNs,
      gpuLoad: elapsedNs <= 0 ? 0 : this.#load(before!, snapshot, elapsedNs),
      clocksHz: {},
      temperaturesCelsius: { tj: this.#thermal.junctionC },
      tripPointsCelsius: { tj: model.tripC },
      powerWatts: boardWatts(model, this.#thermal, workWatts),
      railsWatts: {},
      powerMode: "simulated",
    };
    return this.#sample;
  }

  close(): void {}

  #workWatts(before: EngineSnapshot, now: EngineSnapshot, elapsedNs: number): number {
    const { criticalWatts, jobWatts } = this.#options;
    const critical = criticalWatts * (now.criticalBusyNs - before.criticalBusyNs);
    const jobs = now.jobs.reduce((sum, job, id) => {
      const then = before.jobs[id];
      return sum + jobWatts(id) * (totalGpuNs(job) - (then === undefined ? 0 : totalGpuNs(then)));
    }, 0);
    return Math.max(0, (critical + jobs) / elapsedNs);
  }

  #load(before: EngineSnapshot, now: EngineSnapshot, elapsedNs: number): number {
    const busyNs = now.criticalBusyNs - before.criticalBusyNs + now.backgroundBusyNs -
      before.backgroundBusyNs;
    return Math.min(1, Math.max(0, busyNs / elapsedNs));
  }
}
