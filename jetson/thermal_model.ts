/**
 * How warm does a board get, on the simulator?
 *
 * Two thermal resistors and two heat capacities in a row: the chip's junction warms its heat sink, which warms the air. All
 * numbers are those of a model, chosen to resemble a small fanless carrier board; none was measured on one. What it is for:
 * to see that control is stable, comes in time and that nothing swings. A plot of it says nothing of a real board.
 *
 *     Cj dTj/dt = P - (Tj - Ts) / Rjs            P = idle + leak * (Tj - 25) + what works draws
 *     Cs dTs/dt = (Tj - Ts) / Rjs - (Ts - Ta) / Rsa
 */
export interface ThermalModel {
  /** W, with nothing at work, at 25 C. */
  idleWatts: number;
  /** W for each C of the junction beyond 25 C. */
  leakWattsPerC: number;
  /** C/W. */
  junctionToSink: number;
  sinkToAir: number;
  /** J/C. */
  junctionHeat: number;
  sinkHeat: number;
  /** The junction's temperature where the board slows itself down. */
  tripC: number;
}

export interface ThermalState {
  junctionC: number;
  sinkC: number;
}

/** 4.5 C/W in all: 85 C at 25 C outside take some 13 W for long. Time constants of 4 s and 5 minutes. */
export const FANLESS_BOARD: ThermalModel = {
  idleWatts: 4,
  leakWattsPerC: 0.02,
  junctionToSink: 1,
  sinkToAir: 3.5,
  junctionHeat: 4,
  sinkHeat: 85,
  tripC: 99,
};

const MAX_STEP_S = 0.25;

export function restAt(ambientC: number): ThermalState {
  return { junctionC: ambientC, sinkC: ambientC };
}

/** What the board takes, with `workWatts` drawn by what runs. */
export function boardWatts(model: ThermalModel, { junctionC }: ThermalState, workWatts: number): number {
  return model.idleWatts + model.leakWattsPerC * (junctionC - 25) + workWatts;
}

/** `seconds` later, at `workWatts` and `ambientC` throughout. */
export function warm(
  model: ThermalModel,
  from: ThermalState,
  { workWatts, ambientC, seconds }: { workWatts: number; ambientC: number; seconds: number },
): ThermalState {
  let { junctionC, sinkC } = from;
  const steps = Math.max(1, Math.ceil(seconds / MAX_STEP_S));
  const stepS = seconds / steps;
  for (let step = 0; step < steps; step++) {
    const watts = boardWatts(model, { junctionC, sinkC }, workWatts);
    const toSink = (junctionC - sinkC) / model.junctionToSink;
    const toAir = (sinkC - ambientC) / model.sinkToAir;
    junctionC += (watts - toSink) / model.junctionHeat * stepS;
    sinkC += (toSink - toAir) / model.sinkHeat * stepS;
  }
  return { junctionC, sinkC };
}

/** Clocks that the board leaves itself, of full ones: it slows down by a tenth for each C beyond its trip point, to 30 % at most. */
export function throttled(model: ThermalModel, { junctionC }: ThermalState): number {
  return Math.min(1, Math.max(0.3, 1 - (junctionC - model.tripC) / 10));
}
