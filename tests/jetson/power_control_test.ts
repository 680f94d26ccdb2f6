import { ALARM_OFF_NS, control, initialControl, type PowerLimits } from "../../jetson/power_control.ts";
import { emptySample, type TelemetrySample } from "../../jetson/telemetry.ts";
import {
  boardWatts,
  FANLESS_BOARD,
  restAt,
  type ThermalModel,
  throttled,
  warm,
} from "../../jetson/thermal_model.ts";
import { assert, assertEquals } from "../assert.ts";
import { randomOf } from "./board_fixture.ts";

const TICK_S = 0.5;
const NONE = { dutyPermille: 0, stop: true };

interface Scene {
  limits?: PowerLimits;
  model?: ThermalModel;
  ambientC?: number;
  /** What background draws at full duty. */
  backgroundWatts?: number;
  seconds?: number;
  /** Changes the sample before it is seen. */
  sees?: (sample: TelemetrySample, atS: number) => TelemetrySample | undefined;
}

interface Moment {
  atS: number;
  duty: number;
  stop: boolean;
  junctionC: number;
  watts: number;
  reasons: readonly string[];
}

/** The controller in a loop with the thermal model. */
function fly(
  { limits = {}, model = FANLESS_BOARD, ambientC = 25, backgroundWatts = 10, seconds = 1500, sees }: Scene,
) {
  let state = initialControl(limits);
  let thermal = restAt(ambientC);
  let last = NONE;
  const moments: Moment[] = [];
  for (let tick = 0; tick * TICK_S < seconds; tick++) {
    const atS = tick * TICK_S;
    const duty = last.stop ? 0 : last.dutyPermille / 1000;
    const workWatts = 1 + backgroundWatts * duty;
    thermal = warm(model, thermal, { workWatts, ambientC, seconds: TICK_S });
    const watts = boardWatts(model, thermal, workWatts);
    const whole: TelemetrySample = {
      ...emptySample(atS * 1e9),
      temperaturesCelsius: { tj: thermal.junctionC },
      tripPointsCelsius: { tj: model.tripC },
      powerWatts: watts,
    };
    const decision = control(state, sees === undefined ? whole : sees(whole, atS), limits, atS * 1e9);
    ({ state } = decision);
    last = decision;
    moments.push({
      atS,
      duty,
      stop: decision.stop,
      junctionC: thermal.junctionC,
      watts,
      reasons: decision.reasons,
    });
  }
  return moments;
}

const after = (moments: readonly Moment[], atS: number) => moments.filter((moment) => moment.atS >= atS);
const range = (values: readonly number[]) => Math.max(...values) - Math.min(...values);
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

Deno.test("without limits and far from the trip point all of background runs, from the start", () => {
  const moments = fly({ model: { ...FANLESS_BOARD, tripC: 200 }, seconds: 60 });
  assertEquals(new Set(after(moments, 1).map(({ duty }) => duty)), new Set([1]));
});

Deno.test("before the board slows itself down, background shrinks; without it the board would", () => {
  const hot = { ambientC: 45, backgroundWatts: 12 };
  const controlled = fly(hot);
  assertEquals(controlled.filter(({ junctionC }) => junctionC >= FANLESS_BOARD.tripC).length, 0);
  assert(mean(after(controlled, 1000).map(({ duty }) => duty)) > 0.2, "most of it is kept");
  // The same board with all of background throttles: the test has teeth.
  let thermal = restAt(45);
  for (let second = 0; second < 1500; second++) {
    thermal = warm(FANLESS_BOARD, thermal, { workWatts: 13, ambientC: 45, seconds: 1 });
  }
  assert(throttled(FANLESS_BOARD, thermal) < 1);
});

Deno.test("a temperature limit is approached from below and never reached, and duty comes to rest", () => {
  const limits = { temperatureC: 70 };
  for (const backgroundWatts of [8, 12, 20, 40]) {
    const moments = fly({ limits, backgroundWatts });
    const worst = Math.max(...moments.map(({ junctionC }) => junctionC));
    assert(worst < 70, `${backgroundWatts} W: ${worst} C`);
    const late = after(moments, 1200);
    assert(range(late.map(({ duty }) => duty)) < 0.02, `${backgroundWatts} W: it swings`);
    assert(mean(late.map(({ junctionC }) => junctionC)) > 60, `${backgroundWatts} W: too timid`);
  }
});

Deno.test("a power limit is never passed, whatever background draws, and duty comes to rest", () => {
  for (const backgroundWatts of [4, 10, 20, 40]) {
    const moments = fly({ limits: { powerW: 15 }, backgroundWatts, model: { ...FANLESS_BOARD, tripC: 200 } });
    const worst = Math.max(...moments.map(({ watts }) => watts));
    assert(worst <= 15, `${backgroundWatts} W: ${worst} W`);
    const late = after(moments, 300);
    // Leakage still rises slowly as the board warms up.
    assert(range(late.slice(-40).map(({ duty }) => duty)) < 0.03, `${backgroundWatts} W: it swings`);
  }
});

Deno.test("noise on the sensors does not make duty jump", () => {
  const random = randomOf(7);
  const moments = fly({
    limits: { temperatureC: 70, powerW: 15 },
    sees: (sample) => ({
      ...sample,
      powerWatts: sample.powerWatts! + (random() - 0.5) * 0.6,
      temperaturesCelsius: { tj: Math.round(sample.temperaturesCelsius.tj! * 2) / 2 },
    }),
  });
  const late = after(moments, 600);
  const jumps = late.map(({ duty }, index) => Math.abs(duty - late[Math.max(0, index - 1)]!.duty));
  assert(Math.max(...jumps) < 0.06, `${Math.max(...jumps)}`);
});

Deno.test("an over-current event stops background at once, for its time, and half of it comes back slowly", () => {
  const moments = fly({
    model: { ...FANLESS_BOARD, tripC: 200 },
    seconds: 120,
    sees: (sample, atS) => ({ ...sample, overCurrentEvents: atS < 30 ? 15 : 16 }),
  });
  const stopped = moments.filter(({ stop }) => stop);
  assertEquals([stopped[0]?.atS, stopped.at(-1)?.atS], [30, 30 + ALARM_OFF_NS / 1e9 - TICK_S]);
  assertEquals(stopped[0]?.reasons, ["over-current"]);
  const back = after(moments, 41);
  assert(back.every(({ stop }) => !stop));
  assert(
    back[0]!.duty < 0.3 && Math.max(...back.filter(({ atS }) => atS < 50).map(({ duty }) => duty)) < 0.75,
  );
  assertEquals(moments.at(-1)?.duty, 1);
});

Deno.test("the first count seen is no event, nor is a counter that begins anew or is not known for a while", () => {
  const counts: (number | undefined)[] = [27_390, 27_390, undefined, 27_390, 3, 3];
  let state = initialControl({});
  const stops = counts.map((overCurrentEvents, index) => {
    const sample = {
      ...emptySample(index * 1e9),
      ...(overCurrentEvents === undefined ? {} : { overCurrentEvents }),
    };
    const decision = control(state, sample, {}, index * 1e9);
    ({ state } = decision);
    return decision.stop;
  });
  assertEquals(stops, [false, false, false, false, false, false]);
  assertEquals(control(state, { ...emptySample(9e9), overCurrentEvents: 4 }, {}, 9e9).stop, true);
});

Deno.test("as long as alarms go on, background stays off", () => {
  const moments = fly({
    model: { ...FANLESS_BOARD, tripC: 200 },
    seconds: 60,
    sees: (sample, atS) => ({ ...sample, overCurrentEvents: Math.floor(atS / 5) }),
  });
  assert(after(moments, 5).every(({ stop }) => stop));
});

Deno.test("what is not known changes nothing: duty stays where it was", () => {
  const limits = { temperatureC: 70, powerW: 15 };
  const moments = fly({ limits, seconds: 400, sees: (sample, atS) => (atS < 200 ? sample : undefined) });
  const late = after(moments, 202).map(({ duty }) => duty);
  assertEquals(range(late), 0);
  assert(late[0]! > 0.1);
});

Deno.test("a gap in the samples is no slope, and a sample that is seen twice counts once", () => {
  const limits = { temperatureC: 80 };
  const at = (timeS: number, celsius: number) => ({
    ...emptySample(timeS * 1e9),
    temperaturesCelsius: { tj: celsius },
  });
  let { state } = control(initialControl(limits), at(0, 30), limits, 0);
  ({ state } = control(state, at(100, 60), limits, 100e9));
  assertEquals(state.slopeCPerS, 0);
  const once = control(state, at(101, 61), limits, 101e9);
  const twice = control(once.state, at(101, 61), limits, 101.4e9);
  assertEquals(twice.state, once.state);
});

Deno.test("the same state and sample give the same decision, and neither is changed", () => {
  const limits = { powerW: 12 };
  const state = Object.freeze(initialControl(limits));
  const sample = Object.freeze({ ...emptySample(1e9), powerWatts: 11 });
  assertEquals(control(state, sample, limits, 1e9), control(state, sample, limits, 1e9));
});
