/**
 * What is told of requests and slices once they are over?
 *
 * Plain data: where the time of each request went, and what background ran in between. Times are nanoseconds of
 * `CLOCK_MONOTONIC` (virtual clock: of that), as the host saw them.
 */
import { STRUCTS } from "./abi.ts";
import type { Level } from "./engine.ts";
import { StructView } from "./structs.ts";
import { LEVEL_NUMBERS, type Numbers, wordOf } from "./words.ts";

export type Outcome = "on-time" | "late" | "dropped" | "failed";

const OUTCOMES: Numbers<Outcome> = { "on-time": 0, late: 1, dropped: 2, failed: 3 };
const NO_JOB = 2 ** 32 - 1;
const REQUEST = 1;
/** Read in one call. */
export const TRACE_RECORDS_PER_CALL = 1024;

export interface TraceRequest {
  kind: "request";
  task: number;
  number: number;
  outcome: Outcome;
  arrivalNs: number;
  sensorNs: number;
  deadlineNs: number;
  /** 0: it never ran. */
  launchNs: number;
  /** Output complete, or when it was dropped. */
  doneNs: number;
  /** Of arrival to launch: other critical requests had the GPU for this long. */
  queuedNs: number;
  /** ... it let background come to its end for this long (`yield: when-needed`). */
  deferredNs: number;
  /** Behind the launch, until background was seen to have left; 0: none ran, or it left before. */
  drainNs: number;
  /** The job whose entry the launch found running; -1: none. */
  drainJob: number;
  /** What launch to completion hardly ever exceeds, as known before this request. */
  usualNs: number;
  /** Of the clocks in force. */
  clockKey: number;
}

export interface TraceSlice {
  kind: "slice";
  job: number;
  unit: number;
  /** The step that it began with. */
  step: number;
  beginNs: number;
  /** When its end was seen, up to 50 us late. */
  endNs: number;
  /** GPU time of its kernels. */
  busyNs: number;
  level: Level;
  /** It left with work undone. */
  preempted: boolean;
}

export type TraceRecord = TraceRequest | TraceSlice;

export interface TracePart {
  /** Oldest first. */
  records: TraceRecord[];
  /** Where to go on. */
  next: number;
  /** Records behind `from` that were overwritten before this call. */
  lost: number;
}

/** Room for one call; its bytes are written by the library. */
export function traceRoom(): StructView<"trace"> {
  return new StructView("trace", new Uint8Array(TRACE_RECORDS_PER_CALL * STRUCTS.trace.size));
}

export function decodeTrace(view: StructView<"trace">): TraceRecord {
  if (view.number("kind") !== REQUEST) {
    return {
      kind: "slice",
      job: view.number("source"),
      unit: view.number("number"),
      beginNs: view.number("beginNs"),
      endNs: view.number("endNs"),
      ...view.numbers("step", "busyNs"),
      level: wordOf(LEVEL_NUMBERS, view.number("level"), "trace.level"),
      preempted: view.number("preempted") !== 0,
    };
  }
  const drainJob = view.number("drainJob");
  return {
    kind: "request",
    task: view.number("source"),
    number: view.number("number"),
    outcome: wordOf(OUTCOMES, view.number("outcome"), "trace.outcome"),
    arrivalNs: view.number("beginNs"),
    doneNs: view.number("endNs"),
    drainJob: drainJob === NO_JOB ? -1 : drainJob,
    ...view.numbers(
      "sensorNs",
      "deadlineNs",
      "launchNs",
      "queuedNs",
      "deferredNs",
      "drainNs",
      "usualNs",
      "clockKey",
    ),
  };
}
