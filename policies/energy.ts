/**
 * Energy: the most results per joule, and less of everything as battery, temperature or power near their limits.
 *
 *     factor(j) = clamp(meanJ / joulesPerUnit(j), 1/8, 8)                meanJ over the jobs; 1 where it is not known
 *     wish(j)   = w(j) * factor(j)
 *     share(j)  = (1 - floor) * wish(j) / sum wish + floor * w(j) / sum w      floor = 0.1
 *     turn(j)   = 1 + 0.3 * s(j)                                         share(j) is multiplied by it
 *                 s(j) = +1 or -1, in slots of 2 s: parity of the bits that slot number and j + 1 have in common
 *     duty      = min of   (limitC - temperatureC) / 10 C                1 from 10 C below the limit on, 0 at it
 *                          (limitW - powerW) / (0.2 * limitW)            1 below 80 % of the limit, 0 at it
 *                          (batteryPercent - limit%) / 20 %              1 from 20 points above the limit on, 0 at it
 *                 each within 0..1; what is not known, or has no limit, does not count
 *
 * Limits are the mission's `stopBackgroundAbove`; at them the planner stops background under every policy. The ramp
 * before them keeps the board from running into the stop and out of it.
 *
 * Use: fanless boards, hot days, long flights. Option: `floor`, 0.001..1.
 *
 * One meter measures the whole board, so a job's energy shows only in how power changes when its share does. That is what the turns
 * are for: over time they cancel out, and no two jobs have the same ones.
 *
 * Production ready? The caps are, given sensors or another source of conditions. So is the preference where power is
 * measured: `joulesPerUnit` is then fitted to it, job by job. Where it is not, it is the board's power times the unit's
 * GPU time, which tells long units from short ones, not hungry kernels from frugal ones. Not tried on a battery yet.
 */
import {
  MAX_WEIGHT,
  type PolicyConditions,
  type PolicyJob,
  type PolicyPlan,
  type PolicySnapshot,
} from "./policy.ts";
import { clamp, entriesOf, floorOf, orMean, sum } from "./shares.ts";

const FLOOR = 0.1;
const MAX_FACTOR = 8;
const TURN = 0.3;
const SLOT_NS = 2e9;
const RAMP_C = 10;
const RAMP_POWER = 0.2;
const RAMP_BATTERY = 20;

export function energy(snapshot: PolicySnapshot): PolicyPlan {
  const { jobs } = snapshot;
  const joules = orMean(jobs, (job) => job.joulesPerUnit);
  const mean = sum(jobs, joules) / jobs.length;
  const wish = (job: PolicyJob) => job.weight * clamp(mean / joules(job), 1 / MAX_FACTOR, MAX_FACTOR);
  const duty = dutyOf(snapshot.conditions);
  const entries = entriesOf(jobs, wish, floorOf(snapshot, FLOOR)).map((entry) => ({
    ...entry,
    weight: clamp(Math.round(entry.weight * turn(entry.job, snapshot.nowNs)), 1, MAX_WEIGHT),
  }));
  return duty === 1 ? { entries } : { entries, duty };
}

/** Walsh functions: over a power of two of slots any two of them are orthogonal. */
function turn(job: number, nowNs: number): number {
  const slot = Math.floor(nowNs / SLOT_NS) % 2 ** 31;
  let odd = false;
  for (let bits = slot & (job + 1); bits !== 0; bits &= bits - 1) odd = !odd;
  return odd ? 1 - TURN : 1 + TURN;
}

function dutyOf({ temperatureC, powerW, batteryPercent, limits }: PolicyConditions): number {
  const ramps = [
    ramp(limits.temperatureC, temperatureC, RAMP_C),
    ramp(limits.powerW, powerW, RAMP_POWER * (limits.powerW ?? 1)),
    ramp(batteryPercent, limits.batteryPercent, RAMP_BATTERY),
  ];
  return Math.min(...ramps);
}

/** From 1 at `width` below `high` to 0 at `high`; 1 if either is not known. */
function ramp(high: number | undefined, value: number | undefined, width: number): number {
  return high === undefined || value === undefined ? 1 : clamp((high - value) / width, 0, 1);
}
