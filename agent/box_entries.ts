/** What of a snapshot, an event or a plan goes into the black box? The essentials, by name, some 300 bytes a second. */
import type { EngineEvent, EngineSnapshot, Plan } from "../ffi/engine.ts";
import { responseUs } from "./metrics.ts";
import { totalGpuNs } from "./policy_snapshot.ts";
import type { BoxEntry } from "./store/black_box.ts";

/** By id. */
export interface WorkNames {
  tasks: readonly string[];
  jobs: readonly string[];
}

const SNAPSHOT_NS = 1_000_000_000;
/** Between two snapshots. A task that misses at 1 kHz must not push the minutes before out of the box. */
const MAX_EVENTS = 50;

/** Thins out what comes. */
export class BoxThrottle {
  #lastNs = -Infinity;
  #events = 0;

  /** `undefined`: too soon for another one. Else how many events were left out since the last. */
  snapshot(nowNs: number): number | undefined {
    if (nowNs < this.#lastNs + SNAPSHOT_NS && nowNs >= this.#lastNs) return undefined;
    this.#lastNs = nowNs;
    const leftOut = Math.max(0, this.#events - MAX_EVENTS);
    this.#events = 0;
    return leftOut;
  }

  /** Whether it goes in. */
  event(): boolean {
    return ++this.#events <= MAX_EVENTS;
  }
}

/** `eventsLeftOut`: since the snapshot before. Counts are the engine's, since it became ready. */
export function snapshotEntry(snapshot: EngineSnapshot, names: WorkNames, eventsLeftOut: number): BoxEntry {
  const tasks = snapshot.tasks.map(({ requests, late, dropped, failed, waiting, missRun, response }, id) => {
    const missed = late + dropped + failed;
    const { p99Us, maxUs } = responseUs(response);
    return [names.tasks[id] ?? `${id}`, { requests, missed, missRun, waiting, p99Us, maxUs }];
  });
  const jobs = snapshot.jobs.map((job, id) => {
    const { units, step, preemptions, drainP99Ns } = job;
    return [names.jobs[id] ?? `${id}`, { units, step, preemptions, drainP99Ns, gpuNs: totalGpuNs(job) }];
  });
  return {
    timeNs: snapshot.nowNs,
    kind: "snapshot",
    state: snapshot.state,
    planId: snapshot.planId,
    leaseLeftNs: Math.max(0, snapshot.leaseEndNs - snapshot.nowNs),
    holds: snapshot.holds,
    criticalBusyNs: snapshot.criticalBusyNs,
    backgroundBusyNs: snapshot.backgroundBusyNs,
    tasks: Object.fromEntries(tasks),
    jobs: Object.fromEntries(jobs),
    ...(eventsLeftOut > 0 ? { eventsLeftOut } : {}),
  };
}

/** `source` is a task's id or a job's, by the kind of event. */
export function eventEntry({ timeNs, kind, source, a, b, text }: EngineEvent): BoxEntry {
  return {
    timeNs,
    kind: "event",
    event: kind,
    ...(source === undefined ? {} : { source }),
    a,
    b,
    ...(text === "" ? {} : { text }),
  };
}

/** Only what is different from the plan before is worth an entry. */
export function planEntry({ id, entries, dutyPermille }: Plan, timeNs: number, names: WorkNames): BoxEntry {
  const shares = entries.map(({ job, weight }) => [names.jobs[job] ?? `${job}`, weight]);
  return {
    timeNs,
    kind: "plan",
    planId: id,
    shares: Object.fromEntries(shares),
    ...(dutyPermille === undefined ? {} : { dutyPermille }),
  };
}
