import { energy } from "../../policies/energy.ts";
import { assertAlmostEquals, assertEquals } from "../assert.ts";
import { inPhase, jobOf, sharesOf, snapshotOf } from "./snapshots.ts";

const LIMITS = { temperatureC: 85, powerW: 25, batteryPercent: 20 };
const duty = (known: { temperatureC?: number; powerW?: number; batteryPercent?: number }, limits = {}) =>
  energy(snapshotOf([jobOf(0)], { conditions: inPhase("cruising", { ...known, limits }) })).duty;

Deno.test("energy: fewer joules per result are preferred, in proportion and within bounds", () => {
  const plan = energy(snapshotOf([jobOf(0, { joulesPerUnit: 1 }), jobOf(1, { joulesPerUnit: 3 })]));
  assertAlmostEquals(sharesOf(plan)[0]!, 0.9 * 0.75 + 0.05, 1e-3);
  const far = energy(snapshotOf([jobOf(0, { joulesPerUnit: 1 }), jobOf(1, { joulesPerUnit: 1e9 })]));
  assertAlmostEquals(sharesOf(far)[1]!, 0.9 * (1 / 2) / (8 + 1 / 2) + 0.05, 1e-3);
});

Deno.test("energy: jobs take turns at a little more, by which a meter tells them apart, and over time they cancel out", () => {
  const jobs = [jobOf(0), jobOf(1), jobOf(2)];
  const shares = Array.from(
    { length: 8 },
    (_, slot) => sharesOf(energy(snapshotOf(jobs, { nowNs: slot * 2e9 }))),
  );
  const of = (job: number) => shares.map((share) => share[job]!);
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  for (const job of [0, 1, 2]) assertAlmostEquals(mean(of(job)), 1 / 3, 0.01);
  assertEquals(new Set([0, 1, 2].map((job) => of(job).join())).size, 3);
});

Deno.test("energy: what nothing is known of is shared by weight", () => {
  assertEquals(sharesOf(energy(snapshotOf([jobOf(0, { weight: 3 }), jobOf(1)]))), { 0: 0.75, 1: 0.25 });
});

Deno.test("energy: duty falls as temperature, power or battery near their limits, and the tightest counts", () => {
  assertEquals(duty({ temperatureC: 70, powerW: 10, batteryPercent: 90 }, LIMITS), undefined);
  assertAlmostEquals(duty({ temperatureC: 80 }, LIMITS)!, 0.5, 1e-9);
  assertAlmostEquals(duty({ powerW: 24 }, LIMITS)!, 0.2, 1e-9);
  assertAlmostEquals(duty({ batteryPercent: 25 }, LIMITS)!, 0.25, 1e-9);
  assertAlmostEquals(duty({ temperatureC: 84, powerW: 24, batteryPercent: 25 }, LIMITS)!, 0.1, 1e-9);
  assertEquals([85, 99].map((temperatureC) => duty({ temperatureC }, LIMITS)), [0, 0]);
  assertEquals(duty({ batteryPercent: 3 }, LIMITS), 0);
});

Deno.test("energy: what has no limit or is not known caps nothing", () => {
  assertEquals(duty({ temperatureC: 120, powerW: 99, batteryPercent: 1 }), undefined);
  assertEquals(duty({}, LIMITS), undefined);
});
