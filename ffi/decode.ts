/** How do the bytes that `calypte.h` fills become the plain data of `ffi/engine.ts`? */
import { CONSTANTS } from "./abi.ts";
import type {
  DeviceInfo,
  EngineEvent,
  EngineSnapshot,
  Feature,
  JobStats,
  KernelInfo,
  Result,
  StepInfo,
  TaskStats,
  Timing,
} from "./engine.ts";
import { EngineError } from "./errors.ts";
import { StructView } from "./structs.ts";
import {
  BACKENDS,
  EVENTS,
  FEATURES,
  HOLD_BITS,
  LEVEL_NUMBERS,
  SAFE_MODE_BITS,
  STATES,
  wordOf,
  wordsOf,
  WORK_KINDS,
} from "./words.ts";

/** In a field whose 0 means something. */
const NONE = CONSTANTS.NONE;

export function decodeDevice(view: StructView<"device">): DeviceInfo {
  return {
    name: view.text("name"),
    driver: view.text("driver"),
    backend: wordOf(BACKENDS, view.number("backend"), "device.backend"),
    ...view.numbers(
      "sms",
      "computeMajor",
      "computeMinor",
      "memoryBytes",
      "memoryFreeBytes",
      "threadsPerSm",
      "sharedPerBlockOptinBytes",
      "clockKhz",
      "copyEngines",
      "ptxVersion",
    ),
  };
}

export function decodeFeature(view: StructView<"feature">): Feature {
  return {
    name: wordOf(FEATURES, view.number("feature"), "feature.feature"),
    on: view.number("on") !== 0,
    reason: view.text("reason"),
  };
}

export function decodeKernelInfo(view: StructView<"kernel_info">): KernelInfo {
  const paramCount = view.number("paramCount");
  return {
    ...view.numbers("registers", "localBytes", "staticSharedBytes", "maxThreadsPerBlock", "blocksPerSm"),
    paramCount: paramCount === NONE ? undefined : paramCount,
  };
}

export function decodeStepInfo(view: StructView<"step_info">): StepInfo {
  return {
    level: wordOf(LEVEL_NUMBERS, view.number("level"), "step_info.level"),
    ...view.numbers(
      "workers",
      "periodSlots",
      "runBlocks",
      "blockNs",
      "loopNs",
      "blockDrainNs",
      "loopDrainNs",
    ),
  };
}

export function decodeTiming(view: StructView<"timing">): Timing {
  return view.numbers("runs", "bestNs", "p50Ns", "worstNs");
}

export function decodeEvent(view: StructView<"event">): EngineEvent {
  const source = view.number("source");
  return {
    ...view.numbers("sequence", "timeNs", "a", "b"),
    kind: wordOf(EVENTS, view.number("kind"), "event.kind"),
    source: source === NONE ? undefined : source,
    text: view.text("text"),
  };
}

/** Reads the `used` bytes of records that `calypte_take_results` wrote into the view's bytes; copies payloads. */
export function decodeResults(view: StructView<"result">, used: number): Result[] {
  const results: Result[] = [];
  for (let at = 0; at < used;) {
    view.moveTo(at);
    const { sizeBytes, payloadBytes } = view.numbers("sizeBytes", "payloadBytes");
    if (sizeBytes < view.size + payloadBytes || at + sizeBytes > used) {
      throw new EngineError(
        CONSTANTS.E_INVALID,
        "take results",
        `the record at byte ${at} of ${used} has ${sizeBytes} bytes with a payload of ${payloadBytes}`,
      );
    }
    results.push(decodeResult(view, view.bytes.slice(at + view.size, at + view.size + payloadBytes)));
    at += sizeBytes;
  }
  return results;
}

function decodeResult(view: StructView<"result">, payload: Uint8Array): Result {
  const flags = view.number("flags");
  const has = (flag: number) => (flags & flag) !== 0;
  return {
    kind: wordOf(WORK_KINDS, view.number("kind"), "result.kind"),
    ...view.numbers(
      "work",
      "number",
      "frameSeq",
      "frameIndex",
      "sensorNs",
      "arrivalNs",
      "startNs",
      "doneNs",
      "deadlineNs",
      "position",
    ),
    digest: view.bigint("digest"),
    complete: has(CONSTANTS.RESULT_COMPLETE),
    late: has(CONSTANTS.RESULT_LATE),
    dropped: has(CONSTANTS.RESULT_DROPPED),
    failed: has(CONSTANTS.RESULT_FAILED),
    simulated: has(CONSTANTS.RESULT_SIMULATED),
    payload,
  };
}

/** Reads a snapshot through views that are made once: a poll allocates what it returns and no more. */
export class SnapshotReader {
  readonly #view = new StructView("snapshot");
  readonly #tasks = Array.from({ length: CONSTANTS.MAX_TASKS }, (_, i) => {
    const stats = this.#view.struct("tasks", i);
    return { stats, response: stats.struct("response") };
  });
  readonly #jobs = Array.from({ length: CONSTANTS.MAX_JOBS }, (_, i) => this.#view.struct("jobs", i));

  /** Where the library is to write a `calypte_snapshot`. */
  get bytes(): Uint8Array {
    return this.#view.bytes;
  }

  /** What the bytes hold now. Nothing in it refers to them. */
  read(): EngineSnapshot {
    const view = this.#view;
    const { taskCount, jobCount, holdBits, safeModeReasons } = view.numbers(
      "taskCount",
      "jobCount",
      "holdBits",
      "safeModeReasons",
    );
    return {
      ...view.numbers(
        "nowNs",
        "readyNs",
        "planId",
        "leaseEndNs",
        "entriesAhead",
        "leaseExpired",
        "safeMode",
        "safeModeMisses",
        "safeModeSinceNs",
        "safeModeNs",
        "safeModeUntilNs",
        "criticalBusyNs",
        "backgroundBusyNs",
        "aheadNs",
        "clockKey",
        "windowEndNs",
        "eventsLost",
        "dispatcherSteps",
        "dispatcherWorstNs",
      ),
      state: wordOf(STATES, view.number("state"), "snapshot.state"),
      backend: wordOf(BACKENDS, view.number("backend"), "snapshot.backend"),
      holds: wordsOf(HOLD_BITS, holdBits, "snapshot.hold_bits"),
      safeModeReasons: wordsOf(SAFE_MODE_BITS, safeModeReasons, "snapshot.safe_mode_reasons"),
      tasks: this.#tasks.slice(0, taskCount).map(({ stats, response }) => decodeTask(stats, response)),
      jobs: this.#jobs.slice(0, jobCount).map(decodeJob),
    };
  }
}

function decodeTask(stats: StructView<"task_stats">, response: StructView<"histogram">): TaskStats {
  return {
    ...stats.numbers(
      "requests",
      "onTime",
      "late",
      "dropped",
      "failed",
      "waiting",
      "inFlight",
      "missRun",
      "longestMissRun",
      "busyNs",
      "nextArrivalNs",
      "worstExecutionNs",
      "executionP50Ns",
      "executionP99Ns",
      "periodNs",
      "jitterNs",
      "marginNs",
      "anticipated",
      "wrongGuesses",
      "aheadNs",
      "deferred",
      "deferredNs",
    ),
    response: { ...response.numbers("count", "sumNs", "minNs", "maxNs"), buckets: response.words("buckets") },
  };
}

function decodeJob(view: StructView<"job_stats">): JobStats {
  const { whole, slice, block, loop } = LEVEL_NUMBERS;
  return {
    ...view.numbers(
      "units",
      "readyUnits",
      "step",
      "entries",
      "preemptions",
      "leaves",
      "skippedEntries",
      "wholeLaunches",
      "unitNs",
      "abandoned",
      "drainP99Ns",
      "outstanding",
      "workerKills",
    ),
    worker: (["none", "waiting", "present"] as const)[view.number("workerState")] ?? "none",
    gpuNs: {
      whole: view.number("gpuNs", whole),
      slice: view.number("gpuNs", slice),
      block: view.number("gpuNs", block),
      loop: view.number("gpuNs", loop),
    },
  };
}
