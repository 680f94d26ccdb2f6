/**
 * Throughput: as many completed units as the idle windows hold, weighed by the mission.
 *
 *     window   = min over tasks (periodNs - executionP50Ns - marginNs)   the shortest of the predicted idle windows
 *     left(j)  = unitNs(j) * (1 - unitProgress(j))                       at least a tenth of a unit
 *     fit(j)   = clamp(window / (left(j) + drainP99Ns(j)), 1/4, 1)       1: it ends within a window, nothing is preempted
 *     wish(j)  = w(j) * fit(j) / left(j)                                 units per time, of those that fit first
 *     share(j) = (1 - floor) * wish(j) / sum wish + floor * w(j) / sum w     floor = 0.1
 *
 * A job whose unit time is not known is taken for a middling one. Without a regular task every unit fits. A job that
 * has nothing to do makes no wish and keeps the floor.
 *
 * Use: many small results of which more is better. A job with units ten times as long gets about a tenth of the GPU
 * time that its weight would give it: give long jobs a weight that says what one of their results is worth.
 * Option: `floor`, 0.001..1.
 *
 * Production ready? Yes, where units are comparable; the window is a mean prediction and not the one that is open now.
 */
import type { PolicyJob, PolicyPlan, PolicySnapshot, PolicyTask } from "./policy.ts";
import { clamp, entriesOf, floorOf, orMean } from "./shares.ts";

const FLOOR = 0.1;
const MIN_FIT = 0.25;
/** Near its end a unit would draw all time to itself for the sake of one result. */
const MIN_LEFT = 0.1;
/** Of a job that has nothing to do, below any other: the floor is its share, should something arrive before the next look. */
const IDLE_WISH = 1e-30;

export function throughput(snapshot: PolicySnapshot): PolicyPlan {
  const windowNs = Math.min(...snapshot.tasks.filter(isRegular).map(idleNs));
  const unitNs = orMean(snapshot.jobs, (job) => job.unitNs);
  const wish = (job: PolicyJob) => {
    if (!job.backlogged) return job.weight * IDLE_WISH;
    const leftNs = unitNs(job) * Math.max(MIN_LEFT, 1 - job.unitProgress);
    const fit = clamp(windowNs / (leftNs + job.drainP99Ns), MIN_FIT, 1);
    return job.weight * fit / leftNs;
  };
  return { entries: entriesOf(snapshot.jobs, wish, floorOf(snapshot, FLOOR)) };
}

function isRegular(task: PolicyTask): boolean {
  return task.periodNs > 0;
}

function idleNs(task: PolicyTask): number {
  return Math.max(0, task.periodNs - task.executionP50Ns - task.marginNs);
}
