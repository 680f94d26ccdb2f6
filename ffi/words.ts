/** Which number of `calypte.h` goes with which word of `ffi/engine.ts`? The only tables that say so. */
import { CONSTANTS as C } from "./abi.ts";
import type {
  ArgSpec,
  Backend,
  CriticalSpec,
  EngineSnapshot,
  EventKind,
  FeatureName,
  HoldReason,
  Level,
  OpenOptions,
  SourceSpec,
  WorkKind,
} from "./engine.ts";
import { EngineError } from "./errors.ts";
import type { SafeModeReason } from "./safe_mode.ts";

export type Numbers<W extends string> = Readonly<Record<W, number>>;

export const BACKENDS: Numbers<Backend> = { cuda: C.BACKEND_CUDA, sim: C.BACKEND_SIM };
export const CLOCKS: Numbers<NonNullable<OpenOptions["clock"]>> = {
  real: C.CLOCK_REAL,
  virtual: C.CLOCK_VIRTUAL,
};
export const LEVEL_NUMBERS: Numbers<Level> = {
  whole: C.LEVEL_WHOLE,
  slice: C.LEVEL_SLICE,
  block: C.LEVEL_BLOCK,
  loop: C.LEVEL_LOOP,
};
export const FEATURES: Numbers<FeatureName> = {
  "stream-memops": C.FEATURE_STREAM_MEMOPS,
  "graph-memops": C.FEATURE_GRAPH_MEMOPS,
  "parked-resume": C.FEATURE_PARKED_RESUME,
  "stream-priority": C.FEATURE_STREAM_PRIORITY,
  "mapped-host": C.FEATURE_MAPPED_HOST,
  "integrated": C.FEATURE_INTEGRATED,
  "ipc": C.FEATURE_IPC,
  "realtime": C.FEATURE_REALTIME,
  "locked-memory": C.FEATURE_LOCKED_MEMORY,
  "reserved-sms": C.FEATURE_RESERVED_SMS,
};
/** Bits, not numbers. */
export const HOLD_BITS: Numbers<HoldReason> = {
  "no-plan": C.HOLD_NO_PLAN,
  "lease": C.HOLD_LEASE,
  "caller": C.HOLD_CALLER,
  "shutdown": C.HOLD_SHUTDOWN,
  "fault": C.HOLD_FAULT,
  "safe-mode": C.HOLD_SAFE_MODE,
  "duty": C.HOLD_DUTY,
};
/** Bits, not numbers. */
export const SAFE_MODE_BITS: Numbers<SafeModeReason> = {
  "misses": C.SAFE_MISSES,
  "caller": C.SAFE_CALLER,
  "planner": C.SAFE_PLANNER,
};
export const ARG_KINDS: Numbers<ArgSpec["kind"]> = {
  "scalar": C.ARG_SCALAR,
  "buffer": C.ARG_BUFFER,
  "control": C.ARG_CONTROL,
  "input-slots": C.ARG_INPUT_SLOTS,
  "output-slots": C.ARG_OUTPUT_SLOTS,
  "slot-count": C.ARG_SLOT_COUNT,
};
export const WORK_KINDS: Numbers<WorkKind> = { critical: C.WORK_CRITICAL, background: C.WORK_BACKGROUND };
export const QUEUES: Numbers<CriticalSpec["queue"]> = { latest: C.QUEUE_LATEST, fifo: C.QUEUE_FIFO };
export const FROM: Numbers<CriticalSpec["from"]> = { arrival: C.FROM_ARRIVAL, sensor: C.FROM_SENSOR };
export const ON_MISS: Numbers<CriticalSpec["onMiss"]> = {
  "publish-late": C.ON_MISS_PUBLISH_LATE,
  "drop": C.ON_MISS_DROP,
};
export const YIELDS: Numbers<CriticalSpec["yield"]> = {
  "always": C.YIELD_ALWAYS,
  "when-needed": C.YIELD_WHEN_NEEDED,
  "reserved": C.YIELD_RESERVED,
};
export const SOURCES: Numbers<SourceSpec["kind"]> = {
  none: C.SOURCE_NONE,
  frames: C.SOURCE_FRAMES,
  api: C.SOURCE_API,
  socket: C.SOURCE_SOCKET,
  ring: C.SOURCE_RING,
  external: C.SOURCE_EXTERNAL,
};
export const EVENTS: Numbers<EventKind> = {
  "ready": C.EVENT_READY,
  "feature": C.EVENT_FEATURE,
  "lease-expired": C.EVENT_LEASE_EXPIRED,
  "plan": C.EVENT_PLAN,
  "miss": C.EVENT_MISS,
  "fault": C.EVENT_FAULT,
  "watchdog": C.EVENT_WATCHDOG,
  "results-lost": C.EVENT_RESULTS_LOST,
  "whole-refused": C.EVENT_WHOLE_REFUSED,
  "hold": C.EVENT_HOLD,
  "events-lost": C.EVENT_EVENTS_LOST,
  "anticipation": C.EVENT_ANTICIPATION,
  "mapped-input": C.EVENT_MAPPED_INPUT,
  "long-blocks": C.EVENT_LONG_BLOCKS,
  "input": C.EVENT_INPUT,
  "worker": C.EVENT_WORKER,
  "engine": C.EVENT_ENGINE,
  "safe-mode": C.EVENT_SAFE_MODE,
};
/** What was wrong with what came over a socket or a ring, by the `b` of an `input` event. */
export const INPUT_FAULTS = {
  "of a wrong size, left out": C.INPUT_WRONG_SIZE,
  "without the right head, left out": C.INPUT_WRONG_HEAD,
  "with a sensor time in the future or an hour old, taken as unknown": C.INPUT_SENSOR_TIME,
  "missing: lost by the sender, or overwritten before they were taken": C.INPUT_MISSING,
  "not heard by the dispatcher, left out": C.INPUT_UNHEARD,
  "looks for a ring at the source's path that found none": C.INPUT_NO_RING,
} as const;
export const STATES: Numbers<EngineSnapshot["state"]> = {
  loading: C.STATE_LOADING,
  ready: C.STATE_READY,
  fault: C.STATE_FAULT,
  lost: C.STATE_LOST,
};

/** The words of bits. `EngineError` for a bit that calypte.h does not name: it must not read as none. */
export function wordsOf<W extends string>(table: Numbers<W>, bits: number, what: string): W[] {
  const words = (Object.keys(table) as W[]).filter((word) => (bits & table[word]) !== 0);
  const known = words.reduce((sum, word) => sum | table[word], 0);
  if ((bits & ~known) === 0) return words;
  throw new EngineError(C.E_INVALID, `read ${what}`, `${bits} holds a bit without a name`);
}

/** The number of a word. `EngineError` for a word that is not in the table, as may come from untyped callers. */
export function numberOf<W extends string>(
  table: Numbers<W>,
  word: W,
  what: string,
  operation: string,
): number {
  if (Object.hasOwn(table, word)) return table[word];
  throw new EngineError(
    C.E_INVALID,
    operation,
    `${what} must be one of ${Object.keys(table).join(", ")}, not ${JSON.stringify(word)}`,
  );
}

/** The word of a number. `EngineError` for one that calypte.h does not name: a defect in the library. */
export function wordOf<W extends string>(table: Numbers<W>, number: number, what: string): W {
  for (const word in table) if (table[word] === number) return word;
  throw new EngineError(C.E_INVALID, `read ${what}`, `${number} is not a value that calypte.h names`);
}
