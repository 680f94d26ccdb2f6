/**
 * When does the gate close on a kernel of the suite? Not at all; at random moments; every 30 us.
 *
 * Each function lets one job run, and returns what it saw. Moments and lengths are drawn from the given generator, so
 * that a seed gives the same closings, if not the same interleaving.
 */
import type { Compared, SuiteRun } from "./run.ts";

const UNDISTURBED_UNITS = 4;
/** Behind closings: the unit that was closed last ends, and one begins and ends without any. */
const UNITS_BEHIND = 2;
const CLOSED_US = { least: 1, most: 1000 };
const OPEN_US = { least: 20, most: 1500 };
const STORM_PERIOD_US = 30;
const STORM_CLOSED_US = 3;
/** While busy with closings: how often results are taken, and leaves looked at. */
const TEND_US = 5000;

export interface Disturbed extends Compared {
  /** Requests of the closer that were taken. */
  closings: number;
  /** Entries that ended with work undone. */
  preemptions: number;
  /** Workers that left, counted on the device; also those of the short steps around the kernel. */
  leaves: number;
}

export interface ClosingLimits {
  /** Enough is when both are reached. */
  leaves: number;
  closings: number;
  limitMs: number;
  stormMs: number;
}

export function undisturbed(run: SuiteRun, job: number): Compared {
  run.plan(job);
  run.waitUnits(job, UNDISTURBED_UNITS);
  return run.takeCompared(job);
}

/** Closings of 1 to 1000 us at random moments, both log-uniform. */
export function randomClosings(
  run: SuiteRun,
  job: number,
  limits: ClosingLimits,
  random: () => number,
): Disturbed {
  const counters = countersOf(run, job);
  const endMs = performance.now() + limits.limitMs;
  let closings = 0;
  let enough = false;
  while (!enough && performance.now() < endMs) {
    const tendMs = performance.now() + TEND_US / 1000;
    while (performance.now() < tendMs) {
      const closedUs = Math.round(logUniform(CLOSED_US, random));
      if (close(run, closedUs)) closings += 1;
      spinUs(closedUs + logUniform(OPEN_US, random));
    }
    const { leaves } = counters(run.tend());
    enough = leaves >= limits.leaves && closings >= limits.closings;
  }
  run.waitUnits(job, UNITS_BEHIND);
  return finish(run, job, closings, counters);
}

/** A closing every 30 us for a while, longer than most units; then the unit must end. */
export function storm(run: SuiteRun, job: number, { stormMs }: ClosingLimits): Disturbed {
  const counters = countersOf(run, job);
  const beginMs = performance.now();
  let closings = 0;
  for (let i = 0; performance.now() < beginMs + stormMs; i++) {
    if (close(run, STORM_CLOSED_US)) closings += 1;
    if (i % 100 === 99) run.tend();
    while (performance.now() < beginMs + ((i + 1) * STORM_PERIOD_US) / 1000);
  }
  run.waitUnits(job, UNITS_BEHIND);
  return finish(run, job, closings, counters);
}

type Counters = { preemptions: number; leaves: number };
type Snapshot = ReturnType<SuiteRun["tend"]>;

/** How far the job's counters have gone since now. */
function countersOf(run: SuiteRun, job: number): (snapshot: Snapshot) => Counters {
  const before = run.tend().jobs[job]!;
  return ({ jobs }) => {
    const { preemptions, leaves } = jobs[job]!;
    return { preemptions: preemptions - before.preemptions, leaves: leaves - before.leaves };
  };
}

function finish(
  run: SuiteRun,
  job: number,
  closings: number,
  counters: (snapshot: Snapshot) => Counters,
): Disturbed {
  // Leaves are sampled on the device every 20 ms.
  const settledNs = run.tend().nowNs + 25e6;
  let snapshot = run.tend();
  while (snapshot.nowNs < settledNs) {
    run.waitUnits(job, 1);
    snapshot = run.tend();
  }
  return { ...run.takeCompared(job), closings, ...counters(snapshot) };
}

/** False: the closer has no free slot. */
function close(run: SuiteRun, microseconds: number): boolean {
  const input = new Uint8Array(4);
  new DataView(input.buffer).setUint32(0, microseconds, true);
  return run.engine.submit("critical", run.closer, input, 0) !== undefined;
}

function logUniform({ least, most }: { least: number; most: number }, random: () => number): number {
  return least * (most / least) ** random();
}

/** The thread stays awake: a sleep would take longer than most closings. */
function spinUs(microseconds: number): void {
  const endMs = performance.now() + microseconds / 1000;
  while (performance.now() < endMs);
}
