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
  /** How long a request may take; > 0. */
  readonly deadlineNs: number;
  /** Between arrivals; 0: irregular or not known. */
  readonly periodNs: number;
  /** GPU time of a request, of late; 0: not known. */
  readonly executionP50Ns: number;
  readonly executionP99Ns: number;
  /** Background leaves this long ahead of an expected request; 0: it does not. */
  readonly marginNs: number;
}

/** Of the mission, as told by whoever flies it; `unknown`: nobody has, or not of late; `link-lost`: an autopilot did, and fell silent. */
export const PHASES = [
  "unknown",
  "disarmed",
  "taking-off",
  "cruising",
  "landing",
  "emergency",
  "link-lost",
] as const;
export type Phase = typeof PHASES[number];

/** What is known of the world outside the GPU; absent: not known. */
export interface PolicyConditions {
  readonly phase: Phase;
  readonly batteryPercent?: number;
  readonly temperatureC?: number;
  readonly powerW?: number;
  /** Where the planner stops background whatever the policy says; absent: nowhere. */
  readonly limits: {
    readonly temperatureC?: number;
    readonly powerW?: number;
    /** Background stops below it. */
    readonly batteryPercent?: number;
  };
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
  /** Units whose input waits, the one under way included; an endless source stages only a few. */
  readonly readyUnits: number;
  /** How much of the unit under way is done, counted in steps: 0 <= x < 1. */
  readonly unitProgress: number;
  /** The mission's wish: a unit takes at most this long, from when it could begin; 0: no wish. */
  readonly deadlineNs: number;
  /** When the unit under way is due by that wish, on the snapshot's clock; 0: no wish, or nothing to do. */
  readonly dueNs: number;
  /** Phases in which the mission allows the job, the present one among them; empty: no such list. */
  readonly when: readonly Phase[];
  /** GPU time since the engine became ready, in ns. */
  readonly gpuNs: number;
  /** The same by level of preemption. */
  readonly levelGpuNs: Readonly<Record<"whole" | "slice" | "block" | "loop", number>>;
  /** GPU time within the last `windowNs`, in ns. */
  readonly recentGpuNs: number;
  /** Estimated GPU time of one unit, in ns; 0: unknown. */
  readonly unitNs: number;
  /** 99 % of the times from closing the gate to the job being gone were at most this; 0: not yet seen. */
  readonly drainP99Ns: number;
  /** Estimated energy of one unit; 0: unknown. */
  readonly joulesPerUnit: number;
}

export interface PolicySnapshot {
  /** Monotonic (or virtual) time of the snapshot, in ns. */
  readonly nowNs: number;
  /** How far `recentGpuNs` looks back, in ns. */
  readonly windowNs: number;
  /** When the next request of any task is expected, on the same clock; 0: not known. */
  readonly windowEndNs: number;
  /** Part of the last `windowNs` in which no critical work ran: 0..1; 1 before anything was measured. */
  readonly idleShare: number;
  readonly conditions: PolicyConditions;
  /** As the mission gives them to the policy. */
  readonly options: Readonly<Record<string, number | string | boolean>>;
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
  /** Share of time in which background may run at all, 0..1; 0: nothing runs; absent: no limit. */
  readonly duty?: number;
}

export type Policy = (snapshot: PolicySnapshot) => PolicyPlan;

export const MAX_WEIGHT = 1_000_000;

/** Says what is wrong with a plan, or `undefined`. The planner calls it on every plan; so does the test suite. */
export function planFault(plan: unknown, snapshot: PolicySnapshot): string | undefined {
  if (typeof plan !== "object" || plan === null || !("entries" in plan) || !Array.isArray(plan.entries)) {
    return "a plan is an object with an array 'entries'";
  }
  const duty = "duty" in plan ? plan.duty : undefined;
  if (duty !== undefined && !(typeof duty === "number" && duty >= 0 && duty <= 1)) {
    return `duty ${shown(duty)} is not a number of 0..1`;
  }
  const known = new Set(snapshot.jobs.map((job) => job.id));
  const seen = new Set<number>();
  for (const [index, entry] of (plan.entries as readonly Partial<PolicyEntry>[]).entries()) {
    const at = `entries[${index}]`;
    if (typeof entry !== "object" || entry === null) return `${at} is not an object`;
    const { job, weight, maxUnits } = entry;
    if (job === undefined || !known.has(job)) return `${at}.job ${shown(job)} is no job of the snapshot`;
    if (seen.has(job)) return `${at}.job ${job} is named twice`;
    seen.add(job);
    if (!Number.isInteger(weight) || weight! < 1 || weight! > MAX_WEIGHT) {
      return `${at}.weight ${shown(weight)} is not an integer of 1..${MAX_WEIGHT}`;
    }
    if (!Number.isSafeInteger(maxUnits) || maxUnits! < 0) {
      return `${at}.maxUnits ${shown(maxUnits)} is not an integer >= 0`;
    }
  }
  return undefined;
}

/** A value of any kind, for a message: not everything can be made a text. */
function shown(value: unknown): string {
  return typeof value === "number" || typeof value === "undefined" ? String(value) : `(a ${typeof value})`;
}
