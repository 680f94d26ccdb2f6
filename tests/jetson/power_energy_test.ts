import { EnergyMeter } from "../../jetson/power_energy.ts";
import { assert, assertAlmostEquals, assertEquals } from "../assert.ts";
import { randomOf } from "./board_fixture.ts";

const STEP_NS = 500e6;

/** Feeds a meter with a board that draws `watts` by job, by what `shares` gives each at a step. */
function metered(
  watts: readonly number[],
  shares: (step: number, random: () => number) => readonly number[],
  { steps = 600, noiseW = 0.2, meter = new EnergyMeter(watts.length) } = {},
): EnergyMeter {
  const random = randomOf(3);
  const jobGpuNs = watts.map(() => 0);
  let criticalBusyNs = 0;
  for (let step = 0; step < steps; step++) {
    const now = shares(step, random);
    const critical = 0.1 + 0.05 * random();
    now.forEach((share, job) => jobGpuNs[job] = jobGpuNs[job]! + share * STEP_NS);
    criticalBusyNs += critical * STEP_NS;
    const drawn = 4 + 6 * critical + now.reduce((sum, share, job) => sum + share * watts[job]!, 0);
    const powerWatts = drawn + (random() - 0.5) * noiseW;
    meter.add({ timeNs: step * STEP_NS, powerWatts, criticalBusyNs, jobGpuNs: [...jobGpuNs] });
  }
  return meter;
}

const turns = (_: number, random: () => number) => {
  const part = random();
  const all = 0.4 + 0.4 * random();
  return [all * part, all * (1 - part)];
};

Deno.test("a hungry job is told from a frugal one of the same GPU time", () => {
  const meter = metered([14, 5], turns);
  assertAlmostEquals(meter.watts(0)!, 14, 0.7);
  assertAlmostEquals(meter.watts(1)!, 5, 0.7);
  assertAlmostEquals(meter.joulesPerUnit(0, 2e6)!, 14 * 2e-3, 2e-3);
});

Deno.test("jobs that always run in the same proportion count as what background takes on average", () => {
  const meter = metered([14, 5], (step) => step % 20 < 10 ? [0.4, 0.4] : [0, 0]);
  assertAlmostEquals(meter.watts(0)!, meter.watts(1)!, 1.5);
  assertAlmostEquals((meter.watts(0)! + meter.watts(1)!) / 2, 9.5, 0.5);
});

Deno.test("what was never off, or not seen for long enough, is not known", () => {
  assertEquals(metered([14, 5], () => [0.4, 0.4]).watts(0), undefined);
  assertEquals(metered([14, 5], turns, { steps: 15 }).watts(0), undefined);
  assertEquals(metered([14, 5], turns).joulesPerUnit(0, 0), undefined);
});

Deno.test("old samples are forgotten: a job that has changed is seen as it is now", () => {
  const meter = new EnergyMeter(2);
  metered([14, 5], turns, { meter });
  const random = randomOf(9);
  let [first, second] = [1e12, 1e12];
  for (let step = 600; step < 3000; step++) {
    const [a, b] = turns(step, random) as [number, number];
    [first, second] = [first + a * STEP_NS, second + b * STEP_NS];
    const powerWatts = 4 + 5 * a + 14 * b;
    meter.add({ timeNs: step * STEP_NS, powerWatts, criticalBusyNs: 0, jobGpuNs: [first, second] });
  }
  assert(meter.watts(0)! < 6 && meter.watts(1)! > 13, `${meter.watts(0)} ${meter.watts(1)}`);
});

Deno.test("an engine that was started again, a clock that stands and a power that is no number add nothing false", () => {
  const meter = metered([14, 5], turns);
  const at = 601 * STEP_NS;
  meter.add({ timeNs: at, powerWatts: 9, criticalBusyNs: 0, jobGpuNs: [0, 0] });
  meter.add({ timeNs: at, powerWatts: 9, criticalBusyNs: 0, jobGpuNs: [5e12, 5e12] });
  meter.add({ timeNs: at + 1e9, powerWatts: NaN, criticalBusyNs: 0, jobGpuNs: [] });
  assertAlmostEquals(meter.watts(0)!, 14, 0.8);
});
