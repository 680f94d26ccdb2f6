/** Snapshots for the tests of policies: small ones by hand. Random ones come from agent/policy_cases.ts. */
import type { PolicyConditions, PolicyJob, PolicySnapshot, PolicyTask } from "../../policies/policy.ts";

export function jobOf(id: number, change: Partial<PolicyJob> = {}): PolicyJob {
  return {
    id,
    name: `job-${id}`,
    weight: 1,
    backlogged: true,
    units: 0,
    readyUnits: 1,
    unitProgress: 0,
    deadlineNs: 0,
    dueNs: 0,
    when: [],
    gpuNs: 0,
    levelGpuNs: { whole: 0, slice: 0, block: 0, loop: 0 },
    recentGpuNs: 0,
    unitNs: 0,
    drainP99Ns: 0,
    joulesPerUnit: 0,
    ...change,
  };
}

export function taskOf(change: Partial<PolicyTask> = {}): PolicyTask {
  return {
    name: "detector",
    requests: 0,
    misses: 0,
    missRun: 0,
    nextArrivalNs: 0,
    deadlineNs: 5e6,
    periodNs: 0,
    executionP50Ns: 0,
    executionP99Ns: 0,
    marginNs: 0,
    ...change,
  };
}

export function snapshotOf(jobs: PolicyJob[], change: Partial<PolicySnapshot> = {}): PolicySnapshot {
  return {
    nowNs: 1e9,
    windowNs: 1e10,
    windowEndNs: 0,
    idleShare: 1,
    conditions: { phase: "unknown", limits: {} },
    options: {},
    tasks: [],
    jobs,
    ...change,
  };
}

export function inPhase(
  phase: PolicyConditions["phase"],
  change: Partial<PolicyConditions> = {},
): PolicyConditions {
  return { phase, limits: {}, ...change };
}

/** Share of each entry's weight, by job id, as exact as the integers of a plan are. */
export function sharesOf(
  plan: { entries: readonly { job: number; weight: number }[] },
): Record<number, number> {
  const total = plan.entries.reduce((sum, { weight }) => sum + weight, 0);
  return Object.fromEntries(
    plan.entries.map(({ job, weight }) => [job, Number((weight / total).toFixed(4))]),
  );
}
