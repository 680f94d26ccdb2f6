/**
 * Mission: nothing where the flight is delicate, weighted-fair elsewhere.
 *
 *     allowed(j) = the phase is in when(j), or, without such a list, is `disarmed` or `cruising`
 *     shares of the allowed jobs as by weighted-fair; the others are paused
 *
 * So nothing runs while taking off, landing, in an emergency, without a link to the autopilot, or while the phase is
 * not known, but what the mission allows there by a `when:` of its own. Jobs that its `when:` excludes do not reach any policy.
 *
 * Use: vehicles whose critical work is at its most critical near the ground. Needs a source of conditions.
 *
 * Production ready? Yes; it is as current as the phase that it is told.
 */
import type { Phase, PolicyJob, PolicyPlan, PolicySnapshot } from "./policy.ts";
import { weightedFair } from "./weighted_fair.ts";

const QUIET_FLIGHT: readonly Phase[] = ["disarmed", "cruising"];

export function mission(snapshot: PolicySnapshot): PolicyPlan {
  const { phase } = snapshot.conditions;
  const allowed = (job: PolicyJob) => (job.when.length > 0 ? job.when : QUIET_FLIGHT).includes(phase);
  return weightedFair({ ...snapshot, jobs: snapshot.jobs.filter(allowed) });
}
