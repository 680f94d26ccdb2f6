/**
 * Deadline: a unit that is due soon, with much left to compute, comes first.
 *
 *     left(j)  = unitNs(j) * (1 - unitProgress(j)) / idleShare          time that it takes with all of the idle GPU
 *     slack(j) = dueNs(j) - now - left(j)
 *     u(j)     = clamp(1 - slack(j) / deadlineNs(j), 0, 2)              0: all its time is left, 1: none, 2: late by as much
 *     wish(j)  = w(j) * 16^u(j)                                         u = 0 for a job without a deadline
 *     share(j) = (1 - floor) * wish(j) / sum wish + floor * w(j) / sum w     floor = 0.05
 *
 * Use: background results that somebody waits for, such as a map tile per waypoint. Deadlines are soft: the weights
 * say what is urgent, the mission's weights who yields when all are. Jobs without a deadline, and those with time to
 * spare, keep at least the floor, so that nothing starves. Option: `floor`, 0.001..1.
 *
 * Production ready? Yes, for deadlines of several planner ticks (a quarter of the lease each): it looks no oftener.
 */
import type { PolicyJob, PolicyPlan, PolicySnapshot } from "./policy.ts";
import { clamp, entriesOf, floorOf } from "./shares.ts";

const BOOST = 16;
const FLOOR = 0.05;
/** A GPU that was never idle of late may be idle next: what is left is not taken for endless. */
const MIN_IDLE_SHARE = 0.05;

export function deadline(snapshot: PolicySnapshot): PolicyPlan {
  const idleShare = Math.max(MIN_IDLE_SHARE, snapshot.idleShare);
  const wish = (job: PolicyJob) => job.weight * BOOST ** urgency(job, snapshot.nowNs, idleShare);
  return { entries: entriesOf(snapshot.jobs, wish, floorOf(snapshot, FLOOR)) };
}

function urgency(job: PolicyJob, nowNs: number, idleShare: number): number {
  if (job.deadlineNs === 0 || job.dueNs === 0) return 0;
  const leftNs = job.unitNs * (1 - job.unitProgress) / idleShare;
  return clamp(1 - (job.dueNs - nowNs - leftNs) / job.deadlineNs, 0, 2);
}
