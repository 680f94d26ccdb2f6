/**
 * What may background do until the next look?
 *
 * Snapshot -> policy -> plan with a lease, once per tick. A policy that throws or answers nonsense is logged and
 * counted, and no plan is set: the one in force runs out its lease and background stops, which is the safe side.
 * Errors of the engine are not the planner's to judge; they go to the caller. It reads no clock: time is the snapshot's.
 */
import { type Engine, type EngineSnapshot, type Level, LEVELS } from "../ffi/engine.ts";
import { planFault, type Policy, type PolicyPlan, type PolicySnapshot } from "../policies/policy.ts";
import type { Logger } from "./log.ts";

export interface PlannedJob {
  id: number;
  name: string;
  /** > 0. */
  weight: number;
  /** Its source never runs dry: no input, or frames back to back. */
  endless: boolean;
}

export interface PlannerOptions {
  engine: Engine;
  policy: Policy;
  leaseNs: number;
  /** Names of the critical tasks, by id. */
  tasks: readonly string[];
  /** By id. */
  jobs: readonly PlannedJob[];
  log: Logger;
}

/** How far a policy's `recentGpuNs` looks back. */
export const WINDOW_NS = 10_000_000_000;
/** A faster planner would not be more accurate: timers fire up to 85 ms late (shared FACTS on timers). */
export const MIN_TICK_NS = 20_000_000;
/** Four chances to renew before a lease ends. */
const TICKS_PER_LEASE = 4;

/** A short lease is renewed faster than MIN_TICK_NS, but is then at the mercy of timers. */
export function tickNs(leaseNs: number): number {
  return Math.min(Math.max(MIN_TICK_NS, Math.floor(leaseNs / TICKS_PER_LEASE)), Math.ceil(leaseNs / 2));
}

interface Sample {
  atNs: number;
  /** By job id. */
  gpuNs: readonly number[];
}

export class Planner {
  /** Plans that were not set because the policy failed. */
  policyFaults = 0;
  plansSet = 0;
  readonly #options: PlannerOptions;
  readonly #samples: Sample[] = [];
  #lastFault = "";

  constructor(options: PlannerOptions) {
    this.#options = options;
  }

  /** One look and, unless the policy fails, one plan. Throws `EngineError`. */
  tick(): EngineSnapshot {
    const { engine, leaseNs } = this.#options;
    const snapshot = engine.snapshot();
    const plan = this.#ask(this.#policySnapshot(snapshot));
    if (plan !== undefined) {
      engine.setPlan({ id: snapshot.planId + 1, leaseNs, entries: plan.entries });
      this.plansSet++;
    }
    return snapshot;
  }

  #ask(given: PolicySnapshot): PolicyPlan | undefined {
    let fault: string | undefined;
    try {
      const plan = this.#options.policy(given);
      fault = planFault(plan, given);
      if (fault === undefined) {
        this.#lastFault = "";
        return plan;
      }
    } catch (error) {
      fault = `it threw: ${error instanceof Error ? error.message : String(error)}`;
    }
    this.policyFaults++;
    // Once per kind of fault: a broken policy would otherwise fill the log at every tick.
    if (fault !== this.#lastFault) {
      this.#options.log.error(`policy failed, no plan set, background stops when the lease ends: ${fault}`);
      this.#lastFault = fault;
    }
    return undefined;
  }

  #policySnapshot(snapshot: EngineSnapshot): PolicySnapshot {
    const gpuNs = snapshot.jobs.map(totalGpuNs);
    const oldest = this.#remember(snapshot.nowNs, gpuNs);
    return {
      nowNs: snapshot.nowNs,
      windowNs: WINDOW_NS,
      tasks: snapshot.tasks.map((task, id) => ({
        name: this.#options.tasks[id] ?? `task ${id}`,
        requests: task.requests,
        misses: task.late + task.dropped + task.failed,
        missRun: task.missRun,
        nextArrivalNs: task.nextArrivalNs,
      })),
      jobs: this.#options.jobs.map((job) => {
        const stats = snapshot.jobs[job.id];
        const usedNs = gpuNs[job.id] ?? 0;
        return {
          id: job.id,
          name: job.name,
          weight: job.weight,
          backlogged: job.endless || (stats?.readyUnits ?? 0) > 0,
          units: stats?.units ?? 0,
          gpuNs: usedNs,
          recentGpuNs: Math.max(0, usedNs - (oldest.gpuNs[job.id] ?? 0)),
          unitNs: stats?.unitNs ?? 0,
        };
      }),
    };
  }

  /** Adds a sample; returns the oldest one within the window. */
  #remember(atNs: number, gpuNs: readonly number[]): Sample {
    this.#samples.push({ atNs, gpuNs });
    while (this.#samples[0]!.atNs < atNs - WINDOW_NS) this.#samples.shift();
    return this.#samples[0]!;
  }
}

/** GPU time over all levels. */
export function totalGpuNs(job: { gpuNs: Record<Level, number> }): number {
  return LEVELS.reduce((sum, level) => sum + job.gpuNs[level], 0);
}
