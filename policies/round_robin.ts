/**
 * Round robin: every job the same share.
 *
 *     weight(j) = 1
 *
 * Use: few jobs of equal worth, and as the baseline that another policy has to beat. The mission's weights are
 * ignored. The engine gives time by stride, so "a turn" is an equal amount of GPU time, not one unit: a job with long
 * units does not get more.
 *
 * Production ready? Yes: there is nothing to tune and nothing to learn.
 */
import type { PolicyPlan, PolicySnapshot } from "./policy.ts";

export function roundRobin(snapshot: PolicySnapshot): PolicyPlan {
  return { entries: snapshot.jobs.map((job) => ({ job: job.id, weight: 1, maxUnits: 0 })) };
}
