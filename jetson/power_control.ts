/**
 * How much background does the board bear now?
 *
 * A pure function: state and sample in, state and duty out; no clock. It shrinks background before the board slows itself down, as that
 * would slow the critical work too. Four rules, the tightest counts:
 *
 *     temperature  full duty up to 8 C below the mission's limit, none from 1 C below it on
 *     trip points  full duty up to 10 C below where the board slows itself down, none from 2 C below it on; with or without a limit
 *     power        full duty up to 80 % of the limit, none from 97 % on
 *     alarms       an over-current event: background off for 10 s, then at most half of what ran, which grows back in time
 *
 * Temperatures count as what they will be in 5 s. Duty follows these with a time constant of 3 s downwards and 10 s upwards, as power
 * answers to duty at once and would swing otherwise, and rises by a tenth a second at most. At the limits themselves background stops altogether, with
 * hysteresis: that is agent/stop_limits.ts, which also knows that a limit on something unknown counts as exceeded. Here what is not
 * known changes nothing: duty stays where it is.
 */
import { hottestCelsius, marginToTripCelsius, type TelemetrySample } from "./telemetry.ts";

/** Absent: no limit. */
export interface PowerLimits {
  temperatureC?: number;
  powerW?: number;
}

export interface ControlState {
  /** 0..1. */
  duty: number;
  /** Of the sample before; `undefined`: there was none. */
  lastNs: number | undefined;
  /** Of the hottest place. */
  temperatureC: number | undefined;
  slopeCPerS: number;
  /** Alarms as last counted. */
  events: number | undefined;
  /** Off until then for an alarm; 0: not. */
  offUntilNs: number;
  /** Of duty, 0..1, since the last alarm. */
  ceiling: number;
  /** Of the last sample. */
  reasons: readonly Reason[];
}

export interface ControlDecision {
  state: ControlState;
  /** 1..1000; 1000: no limit. Means nothing if `stop`. */
  dutyPermille: number;
  stop: boolean;
  /** Which rules hold background back now. */
  reasons: readonly Reason[];
}

export type Reason = "temperature" | "trip-point" | "power" | "over-current";

export const TEMPERATURE_RAMP_C = [8, 1] as const;
export const TRIP_RAMP_C = [10, 2] as const;
export const POWER_RAMP = [0.8, 0.97] as const;
export const ALARM_OFF_NS = 10e9;

const HORIZON_S = 5;
const SLOPE_TIME_S = 5;
const FALL_TIME_S = 3;
const RISE_TIME_S = 10;
const MAX_RISE_PER_S = 0.1;
/** An alarm's ceiling grows by this. */
const CEILING_RISE_PER_S = 0.02;
const MIN_CEILING = 0.1;
/** Under a limit nothing is known at first of what background will take. */
const FIRST_DUTY = 0.1;
/** Less is not worth its closings of the gate. */
const MIN_DUTY = 0.01;
/** A gap is no slope. */
const MAX_GAP_S = 10;

export function initialControl(limits: PowerLimits): ControlState {
  const limited = limits.powerW !== undefined || limits.temperatureC !== undefined;
  return {
    duty: limited ? FIRST_DUTY : 1,
    lastNs: undefined,
    temperatureC: undefined,
    slopeCPerS: 0,
    events: undefined,
    offUntilNs: 0,
    ceiling: 1,
    reasons: [],
  };
}

/** `sample` `undefined`: none, or too old. Samples may come at any pace; the same one twice changes nothing but time. */
export function control(
  before: ControlState,
  sample: TelemetrySample | undefined,
  limits: PowerLimits,
  nowNs: number,
): ControlDecision {
  const state = sample === undefined ? { ...before } : observe(before, sample, nowNs);
  const alarmed = nowNs < state.offUntilNs;
  if (sample !== undefined) {
    const { target, reasons } = targetOf(sample, state, limits);
    state.reasons = reasons;
    const elapsedS = before.lastNs === undefined ? 0 : secondsBetween(before.lastNs, sample.timeNs);
    const wanted = Math.min(target, state.ceiling);
    const timeS = wanted < state.duty ? FALL_TIME_S : RISE_TIME_S;
    const change = (wanted - state.duty) * (1 - Math.exp(-elapsedS / timeS));
    // One that was off begins as one of which nothing is known.
    state.duty = alarmed
      ? Math.min(FIRST_DUTY, state.ceiling)
      : clamp(state.duty + Math.min(change, MAX_RISE_PER_S * elapsedS), 0, 1);
    if (!alarmed) state.ceiling = Math.min(1, state.ceiling + CEILING_RISE_PER_S * elapsedS);
    if (wanted >= 1 && state.duty > 0.995) state.duty = 1;
  }
  const reasons = [...state.reasons];
  if (alarmed || state.ceiling < 1) reasons.push("over-current");
  const stop = alarmed || state.duty < MIN_DUTY;
  return { state, dutyPermille: clamp(Math.round(state.duty * 1000), 1, 1000), stop, reasons };
}

/** What the sample says, with how fast it changes. */
function observe(before: ControlState, sample: TelemetrySample, nowNs: number): ControlState {
  const state = { ...before, lastNs: sample.timeNs };
  const temperatureC = hottestCelsius(sample);
  const elapsedS = before.lastNs === undefined ? 0 : secondsBetween(before.lastNs, sample.timeNs);
  if (temperatureC === undefined || before.temperatureC === undefined || elapsedS > MAX_GAP_S) {
    state.slopeCPerS = 0;
  } else if (elapsedS > 0) {
    const slope = (temperatureC - before.temperatureC) / elapsedS;
    const weight = 1 - Math.exp(-elapsedS / SLOPE_TIME_S);
    state.slopeCPerS = before.slopeCPerS + (slope - before.slopeCPerS) * weight;
  }
  state.temperatureC = temperatureC;
  const events = sample.overCurrentEvents;
  if (events !== undefined) {
    // A counter that went back was begun anew; what it counts is not known to be new.
    if (before.events !== undefined && events > before.events) {
      if (nowNs >= before.offUntilNs) state.ceiling = Math.max(MIN_CEILING, before.duty / 2);
      state.offUntilNs = nowNs + ALARM_OFF_NS;
    }
    state.events = events;
  }
  return state;
}

function targetOf(
  sample: TelemetrySample,
  state: ControlState,
  { temperatureC, powerW }: PowerLimits,
): { target: number; reasons: Reason[] } {
  const reasons: Reason[] = [];
  let target = 1;
  const hold = (reason: Reason, duty: number) => {
    if (duty < 1) reasons.push(reason);
    target = Math.min(target, duty);
  };
  const riseC = Math.max(0, state.slopeCPerS) * HORIZON_S;
  if (temperatureC !== undefined && state.temperatureC !== undefined) {
    hold("temperature", between(temperatureC - state.temperatureC - riseC, TEMPERATURE_RAMP_C));
  }
  const marginC = marginToTripCelsius(sample);
  if (marginC !== undefined) hold("trip-point", between(marginC - riseC, TRIP_RAMP_C));
  if (powerW !== undefined && sample.powerWatts !== undefined) {
    const [full, none] = POWER_RAMP;
    hold("power", clamp((none - sample.powerWatts / powerW) / (none - full), 0, 1));
  }
  return { target, reasons };
}

/** 1 from `full` below a limit on, 0 from `none` below it. */
function between(marginC: number, [full, none]: readonly [number, number]): number {
  return clamp((marginC - none) / (full - none), 0, 1);
}

function secondsBetween(fromNs: number, toNs: number): number {
  return clamp((toNs - fromNs) / 1e9, 0, 60);
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
