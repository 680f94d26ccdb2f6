/**
 * What does a policy get to see of the engine?
 *
 * Turns the engine's snapshots, one after the other, into a policy's: counts become differences within a window, and
 * what a soft deadline counts from is remembered. Reads no clock: time is the snapshots'.
 */
import { type EngineSnapshot, type JobStats, type Level, LEVELS } from "../ffi/engine.ts";
import type { Phase, PolicyConditions, PolicyJob, PolicySnapshot, PolicyTask } from "../policies/policy.ts";

export interface PlannedTask {
  name: string;
  deadlineNs: number;
}

export interface PlannedJob {
  id: number;
  name: string;
  /** > 0. */
  weight: number;
  /** Its source never runs dry: no input, or frames back to back. */
  endless: boolean;
  /** Of one unit; 0: none. */
  deadlineNs: number;
  /** Phases in which it may run; empty: in all, the unknown one too. */
  when: readonly Phase[];
  /** Of one unit. */
  steps: number;
}

export type PolicyOptions = PolicySnapshot["options"];

export interface SnapshotsOptions {
  /** By id. */
  tasks: readonly PlannedTask[];
  jobs: readonly PlannedJob[];
  options: PolicyOptions;
  /** Default: none is. */
  barred?: ((job: string) => boolean) | undefined;
  /** Measured energy of a unit of a job, by id; `undefined`: not known. Default: the board's power times the unit's time. */
  joules?: ((job: number, unitNs: number) => number | undefined) | undefined;
}

/** How far a policy's `recentGpuNs` looks back. */
export const WINDOW_NS = 10_000_000_000;

interface Sample {
  atNs: number;
  /** By job id. */
  gpuNs: readonly number[];
  criticalBusyNs: number;
}

/** Since when the unit under way could have begun, as far as the planner has seen. */
interface Begin {
  units: number;
  backlogged: boolean;
  sinceNs: number;
}

export class PolicySnapshots {
  #options: SnapshotsOptions;
  readonly #samples: Sample[] = [];
  readonly #begins: Begin[] = [];

  constructor(options: SnapshotsOptions) {
    this.#options = options;
  }

  /** From the next one on; what was remembered of the past stays. */
  adopt(changes: Pick<SnapshotsOptions, "jobs" | "options">): void {
    this.#options = { ...this.#options, ...changes };
  }

  /** The next one. Jobs that are barred, or that the present phase excludes, are not in it. */
  next(snapshot: EngineSnapshot, conditions: PolicyConditions): PolicySnapshot {
    const { tasks, jobs, options, barred = () => false } = this.#options;
    const { nowNs, criticalBusyNs } = snapshot;
    const gpuNs = snapshot.jobs.map(totalGpuNs);
    const oldest = this.#remember({ atNs: nowNs, gpuNs, criticalBusyNs });
    const seen = jobs.map((job) =>
      this.#job(job, snapshot, gpuNs[job.id] ?? 0, oldest, conditions.powerW ?? 0)
    );
    return {
      nowNs,
      windowNs: WINDOW_NS,
      windowEndNs: snapshot.windowEndNs,
      idleShare: idleShare(oldest, nowNs, criticalBusyNs),
      conditions,
      options,
      tasks: snapshot.tasks.map((task, id): PolicyTask => ({
        name: tasks[id]?.name ?? `task ${id}`,
        requests: task.requests,
        misses: task.late + task.dropped + task.failed,
        missRun: task.missRun,
        nextArrivalNs: task.nextArrivalNs,
        deadlineNs: tasks[id]?.deadlineNs ?? 0,
        periodNs: task.periodNs,
        executionP50Ns: task.executionP50Ns,
        executionP99Ns: task.executionP99Ns,
        marginNs: task.marginNs,
      })),
      jobs: seen.filter(({ name, when }) =>
        !barred(name) && (when.length === 0 || when.includes(conditions.phase))
      ),
    };
  }

  #job(
    job: PlannedJob,
    snapshot: EngineSnapshot,
    usedNs: number,
    oldest: Sample,
    powerW: number,
  ): PolicyJob {
    const stats: JobStats | undefined = snapshot.jobs[job.id];
    const { readyUnits = 0, units = 0, unitNs = 0 } = stats ?? {};
    const backlogged = job.endless || readyUnits > 0;
    const sinceNs = this.#since(job.id, units, backlogged, snapshot.nowNs);
    return {
      id: job.id,
      name: job.name,
      weight: job.weight,
      backlogged,
      units,
      readyUnits,
      unitProgress: job.steps === 0 ? 0 : Math.min((stats?.step ?? 0) / job.steps, 1 - 1 / (job.steps + 1)),
      deadlineNs: job.deadlineNs,
      dueNs: job.deadlineNs === 0 || !backlogged ? 0 : sinceNs + job.deadlineNs,
      when: job.when,
      gpuNs: usedNs,
      levelGpuNs: stats?.gpuNs ?? { whole: 0, slice: 0, block: 0, loop: 0 },
      recentGpuNs: Math.max(0, usedNs - (oldest.gpuNs[job.id] ?? 0)),
      unitNs,
      drainP99Ns: stats?.drainP99Ns ?? 0,
      joulesPerUnit: this.#options.joules?.(job.id, unitNs) ?? powerW * unitNs / 1e9,
    };
  }

  /** A unit could begin when the one before ended or, if there was nothing to do then, when there was. */
  #since(id: number, units: number, backlogged: boolean, nowNs: number): number {
    const begin = this.#begins[id];
    if (begin !== undefined && begin.units === units && begin.backlogged === backlogged) return begin.sinceNs;
    this.#begins[id] = { units, backlogged, sinceNs: nowNs };
    return nowNs;
  }

  /** Adds a sample; returns the oldest one within the window. */
  #remember(sample: Sample): Sample {
    this.#samples.push(sample);
    while (this.#samples[0]!.atNs < sample.atNs - WINDOW_NS) this.#samples.shift();
    return this.#samples[0]!;
  }
}

function idleShare(oldest: Sample, nowNs: number, criticalBusyNs: number): number {
  const spanNs = nowNs - oldest.atNs;
  if (spanNs <= 0) return 1;
  return Math.min(1, Math.max(0, 1 - (criticalBusyNs - oldest.criticalBusyNs) / spanNs));
}

/** GPU time over all levels. */
export function totalGpuNs(job: { gpuNs: Record<Level, number> }): number {
  return LEVELS.reduce((sum, level) => sum + job.gpuNs[level], 0);
}
