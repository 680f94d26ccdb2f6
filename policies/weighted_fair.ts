/**
 * Weighted fair: GPU time in proportion to the mission's weights, corrected by what was really used.
 *
 *     r(j) = recentGpuNs(j) / w(j)                                  time received per unit of weight
 *     R    = sum recentGpuNs / sum w      over backlogged jobs      what it should have been
 *     weight(j) = w(j) * clamp((R / r(j))^2, 1/4, 4)   if j is backlogged, else w(j)
 *
 * The engine's stride already shares by weight; the correction makes up for what stride cannot see (a unit that is
 * longer than its turn, a kernel of level `whole` that waited for a window) within the snapshot's window. A job
 * that had nothing to do builds up no claim: only backlogged jobs are compared, and what lies before the window is forgiven.
 * The factor is bounded, so that one odd measurement cannot starve a job.
 *
 * Use: the default.
 *
 * Production ready? Yes.
 */
import { MAX_WEIGHT, type PolicyJob, type PolicyPlan, type PolicySnapshot } from "./policy.ts";
import { clamp, sum } from "./shares.ts";

/** Plan weight of the heaviest job before correction: fine enough for the factor, and far from the limit. */
const HEAVIEST = 100_000;
/** A loop gain of 2 leaves a third of a lasting error; higher gains ring, as a window answers late. */
const GAIN = 2;
const MAX_CORRECTION = 4;
/** With less than this measured, a correction would follow noise. */
const MIN_MEASURED_NS = 50_000_000;

export function weightedFair(snapshot: PolicySnapshot): PolicyPlan {
  const compared = snapshot.jobs.filter((job) => job.backlogged);
  const usedNs = sum(compared, (job) => job.recentGpuNs);
  const heaviest = Math.max(...snapshot.jobs.map((job) => job.weight));
  const fairNs = usedNs < MIN_MEASURED_NS ? 0 : usedNs / sum(compared, (job) => job.weight);
  return {
    entries: snapshot.jobs.map((job) => ({
      job: job.id,
      weight: clamp(Math.round(job.weight / heaviest * HEAVIEST * correction(job, fairNs)), 1, MAX_WEIGHT),
      maxUnits: 0,
    })),
  };
}

/** `fairNs` 0: nothing to compare with. */
function correction(job: PolicyJob, fairNs: number): number {
  if (fairNs === 0 || !job.backlogged) return 1;
  const receivedNs = job.recentGpuNs / job.weight;
  return receivedNs === 0
    ? MAX_CORRECTION
    : clamp((fairNs / receivedNs) ** GAIN, 1 / MAX_CORRECTION, MAX_CORRECTION);
}
