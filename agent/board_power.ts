/**
 * What does the board leave for background, and what does a job cost it?
 *
 * Joins telemetry to the planner: fills in the conditions that the mission's own source does not give, caps background's duty
 * (jetson/power_control.ts), and meters energy by job. Driven by the planner's ticks, with no timer of its own: a tick
 * begins a sample where one is due and uses the last one that came. A sample that is too old is none.
 */
import type { EngineSnapshot } from "../ffi/engine.ts";
import {
  control,
  type ControlState,
  initialControl,
  type PowerLimits,
  type Reason,
} from "../jetson/power_control.ts";
import { EnergyMeter } from "../jetson/power_energy.ts";
import { hottestCelsius, type Telemetry, type TelemetrySample } from "../jetson/telemetry.ts";
import type { Conditions } from "./conditions.ts";
import type { Logger } from "./log.ts";
import { totalGpuNs } from "./policy_snapshot.ts";

/** Where samples come from. */
export interface SampleSource {
  /** The last one, as of `snapshot`; `undefined`: none yet, or too old. Does not block. */
  latest(snapshot: EngineSnapshot): TelemetrySample | undefined;
  close(): void;
}

/** What the board says to one plan. */
export interface BoardCap {
  conditions: Conditions;
  /** 0..1. */
  duty: number;
  stop: boolean;
}

export interface BoardPowerOptions {
  source: SampleSource;
  limits: PowerLimits;
  jobs: number;
  log: Logger;
}

export class BoardPower {
  readonly #options: BoardPowerOptions;
  readonly #meter: EnergyMeter;
  #limits: PowerLimits;
  #state: ControlState;
  #metered: TelemetrySample | undefined;
  #sample: TelemetrySample | undefined;
  #cap: { duty: number; stop: boolean; reasons: readonly Reason[] } = { duty: 1, stop: false, reasons: [] };
  #firstMode: string | undefined;
  #said = "";
  #seen = { key: "", sinceNs: 0 };

  constructor(options: BoardPowerOptions) {
    this.#options = options;
    this.#limits = options.limits;
    this.#state = initialControl(options.limits);
    this.#meter = new EnergyMeter(options.jobs);
  }

  /** From the next tick on, these limits hold. */
  adopt(limits: PowerLimits): void {
    this.#limits = limits;
  }

  /** Once per plan. What `known` says is not overruled. */
  tick(snapshot: EngineSnapshot, known: Conditions): BoardCap {
    const { source } = this.#options;
    const sample = source.latest(snapshot);
    this.#sample = sample;
    const { state, dutyPermille, stop, reasons } = control(this.#state, sample, this.#limits, snapshot.nowNs);
    this.#state = state;
    this.#cap = { duty: dutyPermille / 1000, stop, reasons };
    this.#meterEnergy(snapshot, sample);
    this.#say(snapshot.nowNs);
    return {
      conditions: sample === undefined ? known : completed(known, sample, this.#clockKey(sample)),
      duty: this.#cap.duty,
      stop,
    };
  }

  /** Measured, of one unit; `undefined`: not known. */
  joulesPerUnit(job: number, unitNs: number): number | undefined {
    return this.#meter.joulesPerUnit(job, unitNs);
  }

  /** As of the last tick; `undefined`: not known. */
  telemetry(): TelemetrySample | undefined {
    return this.#sample;
  }

  /** As of the last tick. */
  cap(): { duty: number; stop: boolean; reasons: readonly Reason[] } {
    return this.#cap;
  }

  close(): void {
    this.#options.source.close();
  }

  /**
   * A number for the power mode: clocks move within a mode, and each move would have all times learned anew. The mode that
   * was seen first is 0, the engine's first key, as what was measured before the first plan was measured in it.
   */
  #clockKey({ powerMode }: TelemetrySample): number | undefined {
    if (powerMode === undefined) return undefined;
    this.#firstMode ??= powerMode;
    return powerMode === this.#firstMode ? 0 : numberOf(powerMode);
  }

  #meterEnergy(snapshot: EngineSnapshot, sample: TelemetrySample | undefined): void {
    if (sample?.powerWatts === undefined || sample.timeNs === this.#metered?.timeNs) return;
    this.#metered = sample;
    this.#meter.add({
      // GPU times are the snapshot's, so the span is too.
      timeNs: snapshot.nowNs,
      powerWatts: sample.powerWatts,
      criticalBusyNs: snapshot.criticalBusyNs,
      jobGpuNs: snapshot.jobs.map(totalGpuNs),
    });
  }

  /** Each set of reasons once it has lasted, an alarm at once: at the edge of a ramp reasons come and go. */
  #say(nowNs: number): void {
    const { stop, reasons } = this.#cap;
    const alarm = stop && reasons.includes("over-current");
    const key = reasons.length === 0 ? "" : `${alarm} ${[...reasons].sort()}`;
    if (key !== this.#seen.key) this.#seen = { key, sinceNs: nowNs };
    if (key === this.#said || (!alarm && nowNs - this.#seen.sinceNs < LASTS_NS)) return;
    this.#said = key;
    const { log } = this.#options;
    const fields = { event: "board-power" };
    if (key === "") log.info("the board bears all of background again", fields);
    else if (alarm) log.warn("background stops: the board had an over-current event", fields);
    else log.info(`background is held back for the board: ${reasons.join(", ")}`, fields);
  }
}

const LASTS_NS = 5e9;

/** The mission's own source comes first: it may know more than the board does. */
function completed(known: Conditions, sample: TelemetrySample, ofMode: number | undefined): Conditions {
  const temperatureC = known.temperatureC ?? hottestCelsius(sample);
  const powerW = known.powerW ?? sample.powerWatts;
  const clockKey = known.clockKey ?? ofMode;
  return {
    ...known,
    ...(temperatureC === undefined ? {} : { temperatureC }),
    ...(powerW === undefined ? {} : { powerW }),
    ...(clockKey === undefined ? {} : { clockKey }),
  };
}

/** FNV-1a over the name of a power mode, never 0. */
function numberOf(powerMode: string): number {
  let hash = 0x811c9dc5;
  for (const char of powerMode) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193) >>> 0;
  return hash || 1;
}

/** Samples a board; begins the next when a tick finds that it is due. */
export class PolledTelemetry implements SampleSource {
  readonly #telemetry: Telemetry;
  #latest: TelemetrySample | undefined;
  #begunNs = -Infinity;
  #closed = false;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  latest({ nowNs }: Pick<EngineSnapshot, "nowNs">): TelemetrySample | undefined {
    if (!this.#closed && nowNs - this.#begunNs >= SAMPLE_NS) {
      this.#begunNs = nowNs;
      void this.#telemetry.sample(nowNs).then((sample) => {
        if (!this.#closed) this.#latest = sample;
      });
    }
    const latest = this.#latest;
    return latest === undefined || nowNs - latest.timeNs > MAX_AGE_NS ? undefined : latest;
  }

  /** Waits for the first sample, so that a run does not begin with everything unknown. */
  async begin(nowNs: number): Promise<TelemetrySample> {
    this.#begunNs = nowNs;
    return this.#latest = await this.#telemetry.sample(nowNs);
  }

  close(): void {
    this.#closed = true;
    this.#telemetry.close();
  }
}

/** Twice a second is faster than anything but power changes, and costs well under 1 % of a core (bench/telemetry.ts). */
export const SAMPLE_NS = 500e6;
/** A sensor that hangs must not pass for one that says all is well. */
export const MAX_AGE_NS = 5e9;
