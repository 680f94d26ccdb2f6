/**
 * What does the engine report, and how often does that reach the log?
 *
 * Counts every event; logs each kind from each source at most once per second of engine time, with the number that
 * was left out in between, so that a task that misses at 1 kHz does not fill the disk.
 */
import { type EngineEvent, type EventKind, FEATURE_NAMES } from "../ffi/engine.ts";
import { CONSTANTS } from "../ffi/abi.ts";
import { HOLD_BITS, INPUT_FAULTS } from "../ffi/words.ts";
import type { Counters } from "./counters.ts";
import type { LogFields, Logger, LogLevel } from "./log.ts";
import { formatDurationNs } from "./quantity.ts";
import type { EventHistory } from "./http/history.ts";
import { safeModeWords } from "./safe_mode.ts";

const QUIET_NS = 1_000_000_000;

const LOUDNESS: Record<EventKind, LogLevel> = {
  "ready": "info",
  "feature": "info",
  "lease-expired": "warn",
  "plan": "info",
  "miss": "warn",
  "fault": "error",
  "watchdog": "error",
  "results-lost": "warn",
  "whole-refused": "warn",
  // Plans, ended leases, faults, stops and safe mode have messages of their own.
  "hold": "debug",
  "events-lost": "warn",
  "anticipation": "info",
  "mapped-input": "info",
  "long-blocks": "warn",
  "input": "warn",
  "engine": "error",
  "worker": "warn",
  "safe-mode": "warn",
};

/** For events that the engine sends without a text. */
const WORDS: Partial<Record<EventKind, string>> = {
  "results-lost": "critical results were lost: their store was full",
  "events-lost": "events were lost: their store was full",
  "input": "inputs are not as they should be",
  "long-blocks": "a job makes no progress: none of its blocks ends before it has to leave",
};

const OF_TASK: readonly EventKind[] = ["miss", "watchdog", "anticipation", "input", "mapped-input"];
const OF_JOB: readonly EventKind[] = ["whole-refused", "long-blocks", "worker"];

const WORKER_WORDS: Readonly<Record<number, string>> = {
  [CONSTANTS.WORKER_JOINED]: "the job's process is there",
  [CONSTANTS.WORKER_LOST]: "the job's process has ended; the unit under way begins again in the next one",
  [CONSTANTS.WORKER_HUNG]: "the job's process held the GPU for too long and is killed",
  [CONSTANTS.WORKER_NONSENSE]: "the job's process wrote what no worker writes and is killed",
};

/** A file of a queue that is not run again. */
export interface PutAway {
  timeNs: number;
  job: string;
  file: string;
  reason: string;
}

export interface EventLogOptions {
  log: Logger;
  counters: Counters;
  leaseNs: number;
  /** Names by id. */
  tasks: readonly string[];
  jobs: readonly string[];
  /** Gets what is logged, for whoever asks later. */
  history?: EventHistory;
}

export class EventLog {
  readonly #options: EventLogOptions;
  /** By kind and source: when it was logged, and how many were not since. */
  readonly #quiet = new Map<string, { sinceNs: number; leftOut: number }>();

  constructor(options: EventLogOptions) {
    this.#options = options;
  }

  add(events: readonly EngineEvent[]): void {
    for (const event of events) {
      this.#options.counters.events[event.kind]++;
      this.#log(event);
    }
  }

  /** What the agent itself has done; the log has it. */
  tell(notices: readonly PutAway[]): void {
    for (const { timeNs, job, file, reason } of notices) {
      const text = `${file} was put into failed/: it ${reason}`;
      this.#options.history?.add({ timeNs, kind: "input-put-away", source: job, text });
    }
  }

  #log(event: EngineEvent): void {
    const loudness = loudnessOf(event);
    const key = `${event.kind}/${event.source ?? ""}/${loudness}`;
    const last = this.#quiet.get(key);
    if (last !== undefined && event.timeNs < last.sinceNs + QUIET_NS) {
      last.leftOut++;
      return;
    }
    this.#quiet.set(key, { sinceNs: event.timeNs, leftOut: 0 });
    const fields: LogFields = {
      event: event.kind,
      ...this.#sourceOf(event),
      ...details(event),
      ...(last === undefined || last.leftOut === 0 ? {} : { leftOut: last.leftOut }),
    };
    const { task, job, source } = fields;
    const text = this.#messageOf(event);
    this.#options.log[loudness](text, fields);
    const from = task ?? job ?? source;
    this.#options.history?.add({
      timeNs: event.timeNs,
      kind: event.kind,
      source: from === undefined ? null : String(from),
      text,
    });
  }

  #messageOf({ kind, a, b, text }: EngineEvent): string {
    switch (kind) {
      case "feature":
        return `${FEATURE_NAMES[a] ?? `feature ${a}`} is off: ${text}`;
      case "plan":
        return `background runs: plan ${a}, lease ${formatDurationNs(this.#options.leaseNs)}`;
      case "lease-expired":
        return `background holds: the lease of plan ${a} ended without a new plan`;
      case "hold":
        return b === 0 ? "background is not held any more" : `background is held: ${holdReasons(b)}`;
      case "worker":
        return WORKER_WORDS[a] ?? kind;
      case "engine":
        return a === 1
          ? `the engine is lost: ${text}; starting another`
          : `the engine serves again, after ${formatDurationNs(b)}`;
      case "safe-mode":
        return a === 0 ? "safe mode is left: background may run again" : `safe mode: ${safeModeWords(a)}`;
      case "miss":
        return `request ${a} missed its deadline${b > 0 ? `, by ${formatDurationNs(b)}` : ""}`;
      case "anticipation":
        return `the gate closes ahead of requests: ${a === 1 ? "on" : "off, as it did not pay"}`;
      default:
        return text === "" ? WORDS[kind] ?? kind : text;
    }
  }

  #sourceOf({ kind, source }: EngineEvent): LogFields {
    if (source === undefined) return {};
    const { tasks, jobs } = this.#options;
    if (OF_TASK.includes(kind)) return { task: tasks[source] ?? source };
    if (OF_JOB.includes(kind)) return { job: jobs[source] ?? source };
    return { source };
  }
}

function loudnessOf({ kind, a }: EngineEvent): LogLevel {
  if (kind === "worker") return a === CONSTANTS.WORKER_JOINED ? "info" : "warn";
  if (kind === "engine") return a === 1 ? "error" : "info";
  return kind === "safe-mode" && a === 0 ? "info" : LOUDNESS[kind];
}

function holdReasons(bits: number): string {
  return Object.entries(HOLD_BITS).filter(([, bit]) => (bits & bit) !== 0).map(([reason]) => reason).join(
    ", ",
  );
}

function inputFault(number: number): string {
  return Object.entries(INPUT_FAULTS).find(([, fault]) => fault === number)?.[0] ?? `fault ${number}`;
}

/** What `a` and `b` mean, by kind (calypte.h). */
function details({ kind, a, b }: EngineEvent): LogFields {
  switch (kind) {
    case "miss":
      return { request: a, lateUs: b / 1000 };
    case "watchdog":
      return { request: a, runningUs: b / 1000 };
    case "lease-expired":
    case "plan":
      return { plan: a };
    case "whole-refused":
      return { step: a, estimateUs: b / 1000 };
    case "feature":
      return { feature: FEATURE_NAMES[a] ?? a };
    case "anticipation":
      return { lostPpm: b };
    case "mapped-input":
      return { mapped: a === 1, copyCostsUs: b / 1000 };
    case "long-blocks":
      return { abandoned: a };
    case "input":
      return { count: a, what: inputFault(b) };
    case "safe-mode":
      return { misses: b };
    case "results-lost":
    case "events-lost":
      return { lost: a };
    default:
      return {};
  }
}
