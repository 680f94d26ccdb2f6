/**
 * What is a policy?
 *
 * A pure function from a snapshot to a plan: which background jobs may run, and in which proportion they share the
 * GPU time that critical work leaves over. It has no clock, does no I/O and keeps no state: all that it may know
 * stands in the snapshot, and two equal snapshots give two equal plans. It does *not* decide when background runs
 * at all (the engine's gate does) nor how long its plan holds (the planner's lease does). A policy that throws or
 * answers nonsense does no harm: the planner keeps quiet, and the last plan runs out its lease.
 */

/** What a policy may know about one critical task. Counts are since the engine became ready. */
export interface PolicyTask {
  readonly name: string;
  readonly requests: number;
  /** Late, dropped or failed requests. */
  readonly misses: number;
  /** Misses in a row, now. */
  readonly missRun: number;
  /** Predicted next arrival on the snapshot's clock; 0: not known. */
  readonly nextArrivalNs: number;
}

/** What a policy may know about one background job. */
export interface PolicyJob {
  /** What a plan entry names it by. */
  readonly id: number;
  readonly name: string;
  /** The mission's weight, > 0. */
  readonly weight: number;
  /** It could use more GPU time now: a unit is under way, or an input waits, or its source never runs dry. */
  readonly backlogged: boolean;
  /** Units completed since the engine became ready. */
  readonly units: number;
  /** GPU time since the engine became ready, in ns. */
  readonly gpuNs: number;
  /** GPU time within the last `windowNs`, in ns. */
  readonly recentGpuNs: number;
  /** Estimated GPU time of one unit, in ns; 0: unknown. */
  readonly unitNs: number;
}

export interface PolicySnapshot {
  /** Monotonic (or virtual) time of the snapshot, in ns. */
  readonly nowNs: number;
  /** How far `recentGpuNs` looks back, in ns. */
  readonly windowNs: number;
  readonly tasks: readonly PolicyTask[];
  /** Only jobs that may run now; empty: nothing may. */
  readonly jobs: readonly PolicyJob[];
}

export interface PolicyEntry {
  /** `id` of a job of the snapshot; each at most once. */
  readonly job: number;
  /** Share of background GPU time among the entries: an integer, 1..1,000,000. */
  readonly weight: number;
  /** No more units than this are started under this plan; 0: no limit. */
  readonly maxUnits: number;
}

export interface PolicyPlan {
  /** Jobs that no entry names are paused. */
  readonly entries: readonly PolicyEntry[];
}

export type Policy = (snapshot: PolicySnapshot) => PolicyPlan;

export const MAX_WEIGHT = 1_000_000;

/** Says what is wrong with a plan, or `undefined`. The planner calls it on every plan; so does the test suite. */
export function planFault(plan: unknown, snapshot: PolicySnapshot): string | undefined {
  if (typeof plan !== "object" || plan === null || !("entries" in plan) || !Array.isArray(plan.entries)) {
    return "a plan is an object with an array 'entries'";
  }
  const known = new Set(snapshot.jobs.map((job) => job.id));
  const seen = new Set<number>();
  for (const [index, entry] of (plan.entries as readonly Partial<PolicyEntry>[]).entries()) {
    const at = `entries[${index}]`;
    if (typeof entry !== "object" || entry === null) return `${at} is not an object`;
    const { job, weight, maxUnits } = entry;
    if (job === undefined || !known.has(job)) return `${at}.job ${job} is no job of the snapshot`;
    if (seen.has(job)) return `${at}.job ${job} is named twice`;
    seen.add(job);
    if (!Number.isInteger(weight) || weight! < 1 || weight! > MAX_WEIGHT) {
      return `${at}.weight ${weight} is not an integer of 1..${MAX_WEIGHT}`;
    }
    if (!Number.isSafeInteger(maxUnits) || maxUnits! < 0) {
      return `${at}.maxUnits ${maxUnits} is not an integer >= 0`;
    }
  }
  return undefined;
}
