/**
 * What does the agent itself count?
 *
 * Plain numbers, written by planner, sinks and supervisor, read by metrics and summary. What the engine counts
 * stands in its snapshot and is not repeated here.
 */
import { EVENTS } from "../ffi/words.ts";
import type { EventKind } from "../ffi/engine.ts";

export interface Counters {
  /** Plans not set because the policy failed. */
  policyFaults: number;
  plansSet: number;
  /** Results taken from the engine. */
  resultsTaken: number;
  /** Taken, and not yet where they are safe: the engine keeps them until then. */
  resultsWaiting: number;
  /** Writes that failed, such as on a full disk. */
  sinkErrors: number;
  /** Results that never reached their file: a write failed, or too much was waiting. */
  resultsLost: number;
  /** Simulated results whose output was not computed: no reference, or it could not keep up. */
  outputsSkipped: number;
  /** Files of queues that were put away because they ended their job's process. */
  poisonInputs: number;
  /** Calls of the engine that failed while it ran. */
  engineErrors: number;
  events: Record<EventKind, number>;
}

export const EVENT_KINDS = Object.keys(EVENTS) as readonly EventKind[];

export function createCounters(): Counters {
  return {
    policyFaults: 0,
    plansSet: 0,
    resultsTaken: 0,
    resultsWaiting: 0,
    sinkErrors: 0,
    resultsLost: 0,
    outputsSkipped: 0,
    poisonInputs: 0,
    engineErrors: 0,
    events: Object.fromEntries(EVENT_KINDS.map((kind) => [kind, 0])) as Record<EventKind, number>,
  };
}
