/**
 * What did the engines before this one do?
 *
 * Each engine counts from 0. These are the sums over those that were lost, put in front of what the present one says, so
 * that counts, request numbers and unit ids go on over a restart. Pure: time comes with the snapshots.
 */
import { emptyHistogram, type EngineSnapshot, mergeHistograms } from "../../ffi/mod.ts";
import type { Histogram, JobStats, Result, TaskStats, WorkKind, WorkSpec } from "../../ffi/engine.ts";

const SUMMED_TASK = [
  "requests",
  "onTime",
  "late",
  "dropped",
  "failed",
  "busyNs",
  "anticipated",
  "wrongGuesses",
  "aheadNs",
  "deferred",
  "deferredNs",
] as const satisfies readonly (keyof TaskStats)[];
const SUMMED_JOB = [
  "units",
  "entries",
  "preemptions",
  "leaves",
  "skippedEntries",
  "wholeLaunches",
  "abandoned",
] as const satisfies readonly (keyof JobStats)[];
const SUMMED = [
  "leaseExpired",
  "safeMode",
  "criticalBusyNs",
  "backgroundBusyNs",
  "aheadNs",
  "eventsLost",
  "dispatcherSteps",
] as const satisfies readonly (keyof EngineSnapshot)[];

/** How a task's requests come, for those that found no engine. 0: not known. */
export interface Arrivals {
  periodNs: number;
}

/** By task: what its source states, else what was learned. */
export function arrivalsOf(
  works: readonly { spec: WorkSpec; id: number }[],
  last: EngineSnapshot,
): Arrivals[] {
  return works.filter(({ spec }) => spec.kind === "critical").map(({ spec, id }) => {
    const stated = "periodNs" in spec.source ? spec.source.periodNs : 0;
    return { periodNs: stated > 0 ? stated : last.tasks[id]?.periodNs ?? 0 };
  });
}

export class Totals {
  #sum: EngineSnapshot | undefined;
  /** Requests that have a number, and units that have an id, by the works' ids. */
  #requestNumbers: number[] = [];
  #unitIds: number[] = [];
  #highestUnit: number[] = [];
  restarts = 0;

  /**
   * An engine was lost whose last snapshot is `last`, and the next one serves from `servedNs` on. What it had in hand has
   * failed; what came in between, reckoned by each task's period, was missed.
   */
  lose(last: EngineSnapshot, servedNs: number, arrivals: readonly Arrivals[]): void {
    const gone = structuredClone(last);
    for (const [id, task] of gone.tasks.entries()) {
      const ended = task.onTime + task.late + task.dropped + task.failed;
      const lost = Math.max(0, task.requests - ended);
      const { periodNs } = arrivals[id] ?? { periodNs: 0 };
      const between = periodNs > 0 ? Math.floor(Math.max(0, servedNs - last.nowNs) / periodNs) : 0;
      task.requests += between;
      task.failed += lost + between;
      task.missRun += lost + between;
      task.longestMissRun = Math.max(task.longestMissRun, task.missRun);
      this.#requestNumbers[id] = (this.#requestNumbers[id] ?? 0) + task.requests;
    }
    // What was taken may be younger than the last snapshot. A unit that was under way is begun again, with a new id.
    for (const [id, job] of gone.jobs.entries()) {
      const begun = (this.#unitIds[id] ?? 0) + job.units;
      this.#unitIds[id] = Math.max(begun, this.#highestUnit[id] ?? 0);
    }
    this.#sum = this.#sum === undefined ? gone : add(this.#sum, gone);
    this.restarts++;
  }

  /** A snapshot of the present engine, with what was before it. */
  onto(now: EngineSnapshot): EngineSnapshot {
    return this.#sum === undefined ? now : add(this.#sum, now);
  }

  /** A result of the present engine under the number that it has over all of them. */
  renumber(result: Result): Result {
    const { kind, work } = result;
    const base = (kind === "critical" ? this.#requestNumbers : this.#unitIds)[work] ?? 0;
    const number = result.number + base;
    if (kind === "background") this.#highestUnit[work] = Math.max(this.#highestUnit[work] ?? 0, number + 1);
    return base === 0 ? result : { ...result, number };
  }

  /** As results have it, of a number that the present engine gave. */
  numberOf(kind: WorkKind, work: number, number: number): number {
    return number + ((kind === "critical" ? this.#requestNumbers : this.#unitIds)[work] ?? 0);
  }

  /** For whoever attaches to the present engine next. */
  toJson(): unknown {
    return {
      restarts: this.restarts,
      requestNumbers: this.#requestNumbers,
      unitIds: this.#unitIds,
      sum: this.#sum === undefined ? null : sparse(this.#sum),
    };
  }

  /** What `toJson` gave, as it came back from JSON. Throws `TypeError` if it is something else. */
  static fromJson(value: unknown): Totals {
    const totals = new Totals();
    const { restarts, requestNumbers, unitIds, sum } = value as Record<string, unknown>;
    if (typeof restarts !== "number" || !Array.isArray(requestNumbers) || !Array.isArray(unitIds)) {
      throw new TypeError("these are no totals");
    }
    totals.restarts = restarts;
    totals.#requestNumbers = requestNumbers;
    totals.#unitIds = unitIds;
    if (sum !== null) totals.#sum = dense(sum as SparseSnapshot);
    return totals;
  }
}

type SparseHistogram = Omit<Histogram, "buckets"> & { buckets: [number, number][] };
type SparseSnapshot = Omit<EngineSnapshot, "tasks"> & {
  tasks: (Omit<TaskStats, "response"> & { response: SparseHistogram })[];
};

function sparse(snapshot: EngineSnapshot): SparseSnapshot {
  const tasks = snapshot.tasks.map((task) => {
    const buckets = [...task.response.buckets.entries()].filter(([, count]) => count > 0);
    return { ...task, response: { ...task.response, buckets } };
  });
  return { ...snapshot, tasks };
}

function dense(snapshot: SparseSnapshot): EngineSnapshot {
  const tasks = snapshot.tasks.map((task) => {
    const response = { ...emptyHistogram(), ...task.response, buckets: emptyHistogram().buckets };
    for (const [index, count] of task.response.buckets) response.buckets[index] = count;
    return { ...task, response };
  });
  return { ...snapshot, tasks };
}

function add(before: EngineSnapshot, now: EngineSnapshot): EngineSnapshot {
  const sum = { ...now, ...summed(before, now, SUMMED), readyNs: before.readyNs };
  sum.tasks = now.tasks.map((task, id) => {
    const old = before.tasks[id];
    if (old === undefined) return task;
    const ended = task.requests > task.waiting + task.inFlight;
    const allMissed = ended && task.missRun >= task.requests - task.waiting - task.inFlight;
    // A run of misses goes on over the restart if the new engine has met none of its deadlines.
    const missRun = !ended || allMissed ? old.missRun + task.missRun : task.missRun;
    return {
      ...task,
      ...summed(old, task, SUMMED_TASK),
      missRun,
      longestMissRun: Math.max(old.longestMissRun, task.longestMissRun, missRun),
      worstExecutionNs: Math.max(old.worstExecutionNs, task.worstExecutionNs),
      response: mergeHistograms([old.response, task.response]),
    };
  });
  sum.jobs = now.jobs.map((job, id) => {
    const old = before.jobs[id];
    if (old === undefined) return job;
    const levels = ["loop", "block", "slice", "whole"] as const;
    return { ...job, ...summed(old, job, SUMMED_JOB), gpuNs: summed(old.gpuNs, job.gpuNs, levels) };
  });
  return sum;
}

function summed<K extends string>(
  before: Record<K, number>,
  now: Record<K, number>,
  keys: readonly K[],
): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, before[key] + now[key]])) as Record<K, number>;
}
