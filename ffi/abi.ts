/**
 * The C interface of libcalypte: symbols, constants and struct layouts.
 *
 * Generated from ffi/native/include/calypte.h by tools/gen_abi.ts. Do not edit: change the header, then run
 * `deno run --allow-read --allow-write tools/gen_abi.ts`.
 */

/** Where a field lies in its struct; `c` is its name in the header, `count` its number of elements. */
export interface FieldLayout {
  readonly c: string;
  readonly type: string;
  readonly offset: number;
  readonly count: number;
}

export interface StructLayout {
  readonly size: number;
  readonly fields: Readonly<Record<string, FieldLayout>>;
}

/** CALYPTE_*, without the prefix. */
export const CONSTANTS = {
  ABI_VERSION: 5,
  MAX_TASKS: 7,
  MAX_JOBS: 24,
  MAX_SAFE_MODE_COUNT: 64,
  MAX_STEPS: 1024,
  MAX_IO: 16,
  MAX_ENTRIES_AHEAD: 16,
  NOTE_BYTES: 1048576,
  MAX_SEGMENTS: 64,
  MAX_PLUGINS: 64,
  MAX_PLUGIN_STEPS: 1000,
  TRACE_RECORDS: 16384,
  NAME_BYTES: 64,
  TEXT_BYTES: 160,
  LEVELS: 4,
  HISTOGRAM_BUCKETS: 1024,
  OK: 0,
  E_INVALID: -1,
  E_CLOSED: -2,
  E_STATE: -3,
  E_NO_DEVICE: -4,
  E_NO_MEMORY: -5,
  E_MODULE: -6,
  E_NOT_FOUND: -7,
  E_LIMIT: -8,
  E_BUSY: -9,
  E_TIMEOUT: -10,
  E_FAULT: -11,
  E_CUDA: -12,
  E_BUFFER: -13,
  E_LOST: -14,
  E_DENIED: -15,
  BACKEND_SIM: 1,
  BACKEND_CUDA: 2,
  CLOCK_REAL: 1,
  CLOCK_VIRTUAL: 2,
  LEVEL_WHOLE: 0,
  LEVEL_SLICE: 1,
  LEVEL_BLOCK: 2,
  LEVEL_LOOP: 3,
  DATAGRAM_MAGIC: 1498431811,
  DATAGRAM_VERSION: 1,
  OPEN_WORKER: 1,
  OPEN_LOCK_MEMORY: 2,
  SERVE_OWN_PROCESS: 1,
  NONE: 4294967295,
  FEATURE_STREAM_MEMOPS: 0,
  FEATURE_GRAPH_MEMOPS: 1,
  FEATURE_PARKED_RESUME: 2,
  FEATURE_STREAM_PRIORITY: 3,
  FEATURE_MAPPED_HOST: 4,
  FEATURE_INTEGRATED: 5,
  FEATURE_IPC: 6,
  FEATURE_REALTIME: 7,
  FEATURE_LOCKED_MEMORY: 8,
  FEATURE_RESERVED_SMS: 9,
  FEATURES: 10,
  HOLD_NO_PLAN: 1,
  HOLD_LEASE: 2,
  HOLD_CALLER: 4,
  HOLD_SHUTDOWN: 8,
  HOLD_FAULT: 16,
  HOLD_SAFE_MODE: 32,
  HOLD_DUTY: 64,
  SAFE_MISSES: 1,
  SAFE_CALLER: 2,
  SAFE_PLANNER: 4,
  ARG_SCALAR: 1,
  ARG_BUFFER: 2,
  ARG_CONTROL: 3,
  ARG_INPUT_SLOTS: 4,
  ARG_OUTPUT_SLOTS: 5,
  ARG_SLOT_COUNT: 6,
  WORK_CRITICAL: 1,
  WORK_BACKGROUND: 2,
  QUEUE_LATEST: 1,
  QUEUE_FIFO: 2,
  FROM_ARRIVAL: 1,
  FROM_SENSOR: 2,
  ON_MISS_PUBLISH_LATE: 1,
  ON_MISS_DROP: 2,
  YIELD_ALWAYS: 1,
  YIELD_WHEN_NEEDED: 2,
  YIELD_RESERVED: 3,
  SOURCE_NONE: 0,
  SOURCE_FRAMES: 1,
  SOURCE_API: 2,
  SOURCE_SOCKET: 3,
  SOURCE_RING: 4,
  SOURCE_EXTERNAL: 5,
  CAPTURE_AUTO: 1,
  CAPTURE_REQUIRE: 2,
  CAPTURE_NEVER: 3,
  RESULT_COMPLETE: 1,
  RESULT_LATE: 2,
  RESULT_DROPPED: 4,
  RESULT_SIMULATED: 8,
  RESULT_FAILED: 16,
  EVENT_READY: 1,
  EVENT_FEATURE: 2,
  EVENT_LEASE_EXPIRED: 3,
  EVENT_PLAN: 4,
  EVENT_MISS: 5,
  EVENT_FAULT: 6,
  EVENT_WATCHDOG: 7,
  EVENT_RESULTS_LOST: 9,
  EVENT_WHOLE_REFUSED: 10,
  EVENT_HOLD: 11,
  EVENT_EVENTS_LOST: 12,
  EVENT_ANTICIPATION: 13,
  EVENT_LONG_BLOCKS: 14,
  EVENT_INPUT: 15,
  EVENT_SAFE_MODE: 17,
  EVENT_WORKER: 16,
  EVENT_MAPPED_INPUT: 19,
  EVENT_ENGINE: 18,
  WORKER_JOINED: 1,
  WORKER_LOST: 2,
  WORKER_HUNG: 3,
  WORKER_NONSENSE: 4,
  INPUT_WRONG_SIZE: 1,
  INPUT_WRONG_HEAD: 2,
  INPUT_SENSOR_TIME: 3,
  INPUT_MISSING: 4,
  INPUT_UNHEARD: 5,
  INPUT_NO_RING: 6,
  STATE_LOADING: 1,
  STATE_READY: 2,
  STATE_FAULT: 3,
  STATE_LOST: 4,
  TRACE_REQUEST: 1,
  TRACE_SLICE: 2,
  OUTCOME_ON_TIME: 0,
  OUTCOME_LATE: 1,
  OUTCOME_DROPPED: 2,
  OUTCOME_FAILED: 3,
} as const satisfies Record<string, number>;

/** calypte_*, without the prefix. */
export const STRUCTS = {
  options: {
    size: 56,
    fields: {
      abiVersion: { c: "abi_version", type: "u32", offset: 0, count: 1 },
      sizeBytes: { c: "size_bytes", type: "u32", offset: 4, count: 1 },
      backend: { c: "backend", type: "u32", offset: 8, count: 1 },
      clock: { c: "clock", type: "u32", offset: 12, count: 1 },
      deviceIndex: { c: "device_index", type: "u32", offset: 16, count: 1 },
      disableFeatures: { c: "disable_features", type: "u32", offset: 20, count: 1 },
      seed: { c: "seed", type: "u64", offset: 24, count: 1 },
      simSms: { c: "sim_sms", type: "u32", offset: 32, count: 1 },
      resultsBytes: { c: "results_bytes", type: "u32", offset: 36, count: 1 },
      reserveSms: { c: "reserve_sms", type: "u32", offset: 40, count: 1 },
      flags: { c: "flags", type: "u32", offset: 44, count: 1 },
      reserved: { c: "reserved", type: "u32", offset: 48, count: 2 },
    },
  },
  device: {
    size: 184,
    fields: {
      name: { c: "name", type: "char", offset: 0, count: 64 },
      driver: { c: "driver", type: "char", offset: 64, count: 64 },
      backend: { c: "backend", type: "u32", offset: 128, count: 1 },
      sms: { c: "sms", type: "u32", offset: 132, count: 1 },
      computeMajor: { c: "compute_major", type: "u32", offset: 136, count: 1 },
      computeMinor: { c: "compute_minor", type: "u32", offset: 140, count: 1 },
      memoryBytes: { c: "memory_bytes", type: "u64", offset: 144, count: 1 },
      memoryFreeBytes: { c: "memory_free_bytes", type: "u64", offset: 152, count: 1 },
      threadsPerSm: { c: "threads_per_sm", type: "u32", offset: 160, count: 1 },
      sharedPerBlockOptinBytes: { c: "shared_per_block_optin_bytes", type: "u32", offset: 164, count: 1 },
      clockKhz: { c: "clock_khz", type: "u32", offset: 168, count: 1 },
      copyEngines: { c: "copy_engines", type: "u32", offset: 172, count: 1 },
      ptxVersion: { c: "ptx_version", type: "u32", offset: 176, count: 1 },
      reserved: { c: "reserved", type: "u32", offset: 180, count: 1 },
    },
  },
  feature: {
    size: 168,
    fields: {
      feature: { c: "feature", type: "u32", offset: 0, count: 1 },
      on: { c: "on", type: "u32", offset: 4, count: 1 },
      reason: { c: "reason", type: "char", offset: 8, count: 160 },
    },
  },
  kernel_info: {
    size: 32,
    fields: {
      registers: { c: "registers", type: "u32", offset: 0, count: 1 },
      localBytes: { c: "local_bytes", type: "u32", offset: 4, count: 1 },
      staticSharedBytes: { c: "static_shared_bytes", type: "u32", offset: 8, count: 1 },
      maxThreadsPerBlock: { c: "max_threads_per_block", type: "u32", offset: 12, count: 1 },
      blocksPerSm: { c: "blocks_per_sm", type: "u32", offset: 16, count: 1 },
      paramCount: { c: "param_count", type: "u32", offset: 20, count: 1 },
      reserved: { c: "reserved", type: "u32", offset: 24, count: 2 },
    },
  },
  arg: {
    size: 24,
    fields: {
      kind: { c: "kind", type: "u32", offset: 0, count: 1 },
      sizeBytes: { c: "size_bytes", type: "u32", offset: 4, count: 1 },
      value: { c: "value", type: "u64", offset: 8, count: 1 },
      offset: { c: "offset", type: "u64", offset: 16, count: 1 },
    },
  },
  step: {
    size: 80,
    fields: {
      kernel: { c: "kernel", type: "u32", offset: 0, count: 1 },
      level: { c: "level", type: "u32", offset: 4, count: 1 },
      grid: { c: "grid", type: "u32", offset: 8, count: 3 },
      block: { c: "block", type: "u32", offset: 20, count: 3 },
      sharedBytes: { c: "shared_bytes", type: "u32", offset: 32, count: 1 },
      workers: { c: "workers", type: "u32", offset: 36, count: 1 },
      firstArg: { c: "first_arg", type: "u32", offset: 40, count: 1 },
      argCount: { c: "arg_count", type: "u32", offset: 44, count: 1 },
      loopKernel: { c: "loop_kernel", type: "u32", offset: 48, count: 1 },
      periodSlots: { c: "period_slots", type: "u32", offset: 52, count: 1 },
      runBlocks: { c: "run_blocks", type: "u32", offset: 56, count: 1 },
      reserved: { c: "reserved", type: "u32", offset: 60, count: 1 },
      estimateNs: { c: "estimate_ns", type: "u64", offset: 64, count: 1 },
      blockEstimateNs: { c: "block_estimate_ns", type: "u64", offset: 72, count: 1 },
    },
  },
  io: {
    size: 24,
    fields: {
      buffer: { c: "buffer", type: "u32", offset: 0, count: 1 },
      reserved: { c: "reserved", type: "u32", offset: 4, count: 1 },
      offset: { c: "offset", type: "u64", offset: 8, count: 1 },
      sizeBytes: { c: "size_bytes", type: "u64", offset: 16, count: 1 },
    },
  },
  plugin_io: {
    size: 136,
    fields: {
      name: { c: "name", type: "char", offset: 0, count: 128 },
      buffer: { c: "buffer", type: "u32", offset: 128, count: 1 },
      role: { c: "role", type: "u32", offset: 132, count: 1 },
    },
  },
  plugin_spec: {
    size: 32,
    fields: {
      abiVersion: { c: "abi_version", type: "u32", offset: 0, count: 1 },
      sizeBytes: { c: "size_bytes", type: "u32", offset: 4, count: 1 },
      kind: { c: "kind", type: "u32", offset: 8, count: 1 },
      capture: { c: "capture", type: "u32", offset: 12, count: 1 },
      mostSteps: { c: "most_steps", type: "u32", offset: 16, count: 1 },
      bufferCount: { c: "buffer_count", type: "u32", offset: 20, count: 1 },
      pathBytes: { c: "path_bytes", type: "u32", offset: 24, count: 1 },
      configBytes: { c: "config_bytes", type: "u32", offset: 28, count: 1 },
    },
  },
  plugin_info: {
    size: 432,
    fields: {
      stepCount: { c: "step_count", type: "u32", offset: 0, count: 1 },
      captured: { c: "captured", type: "u32", offset: 4, count: 1 },
      nodeCount: { c: "node_count", type: "u32", offset: 8, count: 1 },
      kernels: { c: "kernels", type: "u32", offset: 12, count: 1 },
      copies: { c: "copies", type: "u32", offset: 16, count: 1 },
      memsets: { c: "memsets", type: "u32", offset: 20, count: 1 },
      captures: { c: "captures", type: "u64", offset: 24, count: 1 },
      longestNs: { c: "longest_ns", type: "u64", offset: 32, count: 1 },
      totalNs: { c: "total_ns", type: "u64", offset: 40, count: 1 },
      name: { c: "name", type: "char", offset: 48, count: 128 },
      reason: { c: "reason", type: "char", offset: 176, count: 256 },
    },
  },
  plugin_step: {
    size: 176,
    fields: {
      kernel: { c: "kernel", type: "u32", offset: 0, count: 1 },
      nodeCount: { c: "node_count", type: "u32", offset: 4, count: 1 },
      grid: { c: "grid", type: "u32", offset: 8, count: 3 },
      block: { c: "block", type: "u32", offset: 20, count: 3 },
      sharedBytes: { c: "shared_bytes", type: "u32", offset: 32, count: 1 },
      reserved: { c: "reserved", type: "u32", offset: 36, count: 1 },
      estimateNs: { c: "estimate_ns", type: "u64", offset: 40, count: 1 },
      name: { c: "name", type: "char", offset: 48, count: 128 },
    },
  },
  work: {
    size: 232,
    fields: {
      abiVersion: { c: "abi_version", type: "u32", offset: 0, count: 1 },
      sizeBytes: { c: "size_bytes", type: "u32", offset: 4, count: 1 },
      name: { c: "name", type: "char", offset: 8, count: 64 },
      digest: { c: "digest", type: "u8", offset: 72, count: 32 },
      kind: { c: "kind", type: "u32", offset: 104, count: 1 },
      stepCount: { c: "step_count", type: "u32", offset: 108, count: 1 },
      argCount: { c: "arg_count", type: "u32", offset: 112, count: 1 },
      inputCount: { c: "input_count", type: "u32", offset: 116, count: 1 },
      outputCount: { c: "output_count", type: "u32", offset: 120, count: 1 },
      source: { c: "source", type: "u32", offset: 124, count: 1 },
      frames: { c: "frames", type: "u32", offset: 128, count: 1 },
      queue: { c: "queue", type: "u32", offset: 132, count: 1 },
      queueDepth: { c: "queue_depth", type: "u32", offset: 136, count: 1 },
      from: { c: "from", type: "u32", offset: 140, count: 1 },
      onMiss: { c: "on_miss", type: "u32", offset: 144, count: 1 },
      keepOutput: { c: "keep_output", type: "u32", offset: 148, count: 1 },
      yield: { c: "yield", type: "u32", offset: 152, count: 1 },
      anticipate: { c: "anticipate", type: "u32", offset: 156, count: 1 },
      channel: { c: "channel", type: "u32", offset: 160, count: 1 },
      outputChannel: { c: "output_channel", type: "u32", offset: 164, count: 1 },
      inputBytes: { c: "input_bytes", type: "u64", offset: 168, count: 1 },
      outputBytes: { c: "output_bytes", type: "u64", offset: 176, count: 1 },
      periodNs: { c: "period_ns", type: "u64", offset: 184, count: 1 },
      phaseNs: { c: "phase_ns", type: "u64", offset: 192, count: 1 },
      deadlineNs: { c: "deadline_ns", type: "u64", offset: 200, count: 1 },
      maxBlockingNs: { c: "max_blocking_ns", type: "u64", offset: 208, count: 1 },
      estimateNs: { c: "estimate_ns", type: "u64", offset: 216, count: 1 },
      preemptionBoundNs: { c: "preemption_bound_ns", type: "u64", offset: 224, count: 1 },
    },
  },
  step_info: {
    size: 48,
    fields: {
      level: { c: "level", type: "u32", offset: 0, count: 1 },
      workers: { c: "workers", type: "u32", offset: 4, count: 1 },
      periodSlots: { c: "period_slots", type: "u32", offset: 8, count: 1 },
      runBlocks: { c: "run_blocks", type: "u32", offset: 12, count: 1 },
      blockNs: { c: "block_ns", type: "u64", offset: 16, count: 1 },
      loopNs: { c: "loop_ns", type: "u64", offset: 24, count: 1 },
      blockDrainNs: { c: "block_drain_ns", type: "u64", offset: 32, count: 1 },
      loopDrainNs: { c: "loop_drain_ns", type: "u64", offset: 40, count: 1 },
    },
  },
  timing: {
    size: 32,
    fields: {
      runs: { c: "runs", type: "u64", offset: 0, count: 1 },
      bestNs: { c: "best_ns", type: "u64", offset: 8, count: 1 },
      p50Ns: { c: "p50_ns", type: "u64", offset: 16, count: 1 },
      worstNs: { c: "worst_ns", type: "u64", offset: 24, count: 1 },
    },
  },
  segment: {
    size: 32,
    fields: {
      firstStep: { c: "first_step", type: "u32", offset: 0, count: 1 },
      stepCount: { c: "step_count", type: "u32", offset: 4, count: 1 },
      whole: { c: "whole", type: "u32", offset: 8, count: 1 },
      level: { c: "level", type: "u32", offset: 12, count: 1 },
      loopPermille: { c: "loop_permille", type: "u32", offset: 16, count: 1 },
      merges: { c: "merges", type: "u32", offset: 20, count: 1 },
      estimateNs: { c: "estimate_ns", type: "u64", offset: 24, count: 1 },
    },
  },
  isolated: {
    size: 2200,
    fields: {
      abiVersion: { c: "abi_version", type: "u32", offset: 0, count: 1 },
      sizeBytes: { c: "size_bytes", type: "u32", offset: 4, count: 1 },
      name: { c: "name", type: "char", offset: 8, count: 64 },
      digest: { c: "digest", type: "u8", offset: 72, count: 32 },
      stepCount: { c: "step_count", type: "u32", offset: 104, count: 1 },
      segmentCount: { c: "segment_count", type: "u32", offset: 108, count: 1 },
      unitsPerEntry: { c: "units_per_entry", type: "u32", offset: 112, count: 1 },
      reserved: { c: "reserved", type: "u32", offset: 116, count: 1 },
      estimateNs: { c: "estimate_ns", type: "u64", offset: 120, count: 1 },
      boundNs: { c: "bound_ns", type: "u64", offset: 128, count: 1 },
      drainNs: { c: "drain_ns", type: "u64", offset: 136, count: 1 },
      killAfterNs: { c: "kill_after_ns", type: "u64", offset: 144, count: 1 },
      segments: { c: "segments", type: "segment", offset: 152, count: 64 },
    },
  },
  plan_entry: {
    size: 16,
    fields: {
      job: { c: "job", type: "u32", offset: 0, count: 1 },
      weight: { c: "weight", type: "u32", offset: 4, count: 1 },
      maxUnits: { c: "max_units", type: "u64", offset: 8, count: 1 },
    },
  },
  plan: {
    size: 416,
    fields: {
      abiVersion: { c: "abi_version", type: "u32", offset: 0, count: 1 },
      sizeBytes: { c: "size_bytes", type: "u32", offset: 4, count: 1 },
      id: { c: "id", type: "u64", offset: 8, count: 1 },
      leaseNs: { c: "lease_ns", type: "u64", offset: 16, count: 1 },
      entryCount: { c: "entry_count", type: "u32", offset: 24, count: 1 },
      dutyPermille: { c: "duty_permille", type: "u32", offset: 28, count: 1 },
      entries: { c: "entries", type: "plan_entry", offset: 32, count: 24 },
    },
  },
  safe_mode: {
    size: 32,
    fields: {
      abiVersion: { c: "abi_version", type: "u32", offset: 0, count: 1 },
      sizeBytes: { c: "size_bytes", type: "u32", offset: 4, count: 1 },
      misses: { c: "misses", type: "u32", offset: 8, count: 1 },
      staleLeases: { c: "stale_leases", type: "u32", offset: 12, count: 1 },
      windowNs: { c: "window_ns", type: "u64", offset: 16, count: 1 },
      clearAfterNs: { c: "clear_after_ns", type: "u64", offset: 24, count: 1 },
    },
  },
  histogram: {
    size: 4128,
    fields: {
      count: { c: "count", type: "u64", offset: 0, count: 1 },
      sumNs: { c: "sum_ns", type: "u64", offset: 8, count: 1 },
      minNs: { c: "min_ns", type: "u64", offset: 16, count: 1 },
      maxNs: { c: "max_ns", type: "u64", offset: 24, count: 1 },
      buckets: { c: "buckets", type: "u32", offset: 32, count: 1024 },
    },
  },
  task_stats: {
    size: 4304,
    fields: {
      requests: { c: "requests", type: "u64", offset: 0, count: 1 },
      onTime: { c: "on_time", type: "u64", offset: 8, count: 1 },
      late: { c: "late", type: "u64", offset: 16, count: 1 },
      dropped: { c: "dropped", type: "u64", offset: 24, count: 1 },
      failed: { c: "failed", type: "u64", offset: 32, count: 1 },
      waiting: { c: "waiting", type: "u64", offset: 40, count: 1 },
      inFlight: { c: "in_flight", type: "u64", offset: 48, count: 1 },
      missRun: { c: "miss_run", type: "u64", offset: 56, count: 1 },
      longestMissRun: { c: "longest_miss_run", type: "u64", offset: 64, count: 1 },
      busyNs: { c: "busy_ns", type: "u64", offset: 72, count: 1 },
      nextArrivalNs: { c: "next_arrival_ns", type: "u64", offset: 80, count: 1 },
      worstExecutionNs: { c: "worst_execution_ns", type: "u64", offset: 88, count: 1 },
      executionP50Ns: { c: "execution_p50_ns", type: "u64", offset: 96, count: 1 },
      executionP99Ns: { c: "execution_p99_ns", type: "u64", offset: 104, count: 1 },
      periodNs: { c: "period_ns", type: "u64", offset: 112, count: 1 },
      jitterNs: { c: "jitter_ns", type: "u64", offset: 120, count: 1 },
      marginNs: { c: "margin_ns", type: "u64", offset: 128, count: 1 },
      anticipated: { c: "anticipated", type: "u64", offset: 136, count: 1 },
      wrongGuesses: { c: "wrong_guesses", type: "u64", offset: 144, count: 1 },
      aheadNs: { c: "ahead_ns", type: "u64", offset: 152, count: 1 },
      deferred: { c: "deferred", type: "u64", offset: 160, count: 1 },
      deferredNs: { c: "deferred_ns", type: "u64", offset: 168, count: 1 },
      response: { c: "response", type: "histogram", offset: 176, count: 1 },
    },
  },
  job_stats: {
    size: 144,
    fields: {
      units: { c: "units", type: "u64", offset: 0, count: 1 },
      readyUnits: { c: "ready_units", type: "u64", offset: 8, count: 1 },
      step: { c: "step", type: "u64", offset: 16, count: 1 },
      entries: { c: "entries", type: "u64", offset: 24, count: 1 },
      preemptions: { c: "preemptions", type: "u64", offset: 32, count: 1 },
      leaves: { c: "leaves", type: "u64", offset: 40, count: 1 },
      skippedEntries: { c: "skipped_entries", type: "u64", offset: 48, count: 1 },
      wholeLaunches: { c: "whole_launches", type: "u64", offset: 56, count: 1 },
      gpuNs: { c: "gpu_ns", type: "u64", offset: 64, count: 4 },
      unitNs: { c: "unit_ns", type: "u64", offset: 96, count: 1 },
      abandoned: { c: "abandoned", type: "u64", offset: 104, count: 1 },
      drainP99Ns: { c: "drain_p99_ns", type: "u64", offset: 112, count: 1 },
      outstanding: { c: "outstanding", type: "u64", offset: 120, count: 1 },
      workerState: { c: "worker_state", type: "u64", offset: 128, count: 1 },
      workerKills: { c: "worker_kills", type: "u64", offset: 136, count: 1 },
    },
  },
  snapshot: {
    size: 33760,
    fields: {
      abiVersion: { c: "abi_version", type: "u32", offset: 0, count: 1 },
      sizeBytes: { c: "size_bytes", type: "u32", offset: 4, count: 1 },
      nowNs: { c: "now_ns", type: "u64", offset: 8, count: 1 },
      readyNs: { c: "ready_ns", type: "u64", offset: 16, count: 1 },
      state: { c: "state", type: "u32", offset: 24, count: 1 },
      backend: { c: "backend", type: "u32", offset: 28, count: 1 },
      taskCount: { c: "task_count", type: "u32", offset: 32, count: 1 },
      jobCount: { c: "job_count", type: "u32", offset: 36, count: 1 },
      planId: { c: "plan_id", type: "u64", offset: 40, count: 1 },
      leaseEndNs: { c: "lease_end_ns", type: "u64", offset: 48, count: 1 },
      holdBits: { c: "hold_bits", type: "u32", offset: 56, count: 1 },
      entriesAhead: { c: "entries_ahead", type: "u32", offset: 60, count: 1 },
      leaseExpired: { c: "lease_expired", type: "u64", offset: 64, count: 1 },
      safeMode: { c: "safe_mode", type: "u64", offset: 72, count: 1 },
      safeModeReasons: { c: "safe_mode_reasons", type: "u32", offset: 80, count: 1 },
      safeModeMisses: { c: "safe_mode_misses", type: "u32", offset: 84, count: 1 },
      safeModeSinceNs: { c: "safe_mode_since_ns", type: "u64", offset: 88, count: 1 },
      safeModeNs: { c: "safe_mode_ns", type: "u64", offset: 96, count: 1 },
      safeModeUntilNs: { c: "safe_mode_until_ns", type: "u64", offset: 104, count: 1 },
      criticalBusyNs: { c: "critical_busy_ns", type: "u64", offset: 112, count: 1 },
      backgroundBusyNs: { c: "background_busy_ns", type: "u64", offset: 120, count: 1 },
      aheadNs: { c: "ahead_ns", type: "u64", offset: 128, count: 1 },
      clockKey: { c: "clock_key", type: "u64", offset: 136, count: 1 },
      windowEndNs: { c: "window_end_ns", type: "u64", offset: 144, count: 1 },
      eventsLost: { c: "events_lost", type: "u64", offset: 152, count: 1 },
      dispatcherSteps: { c: "dispatcher_steps", type: "u64", offset: 160, count: 1 },
      dispatcherWorstNs: { c: "dispatcher_worst_ns", type: "u64", offset: 168, count: 1 },
      tasks: { c: "tasks", type: "task_stats", offset: 176, count: 7 },
      jobs: { c: "jobs", type: "job_stats", offset: 30304, count: 24 },
    },
  },
  result: {
    size: 104,
    fields: {
      sizeBytes: { c: "size_bytes", type: "u32", offset: 0, count: 1 },
      kind: { c: "kind", type: "u32", offset: 4, count: 1 },
      work: { c: "work", type: "u32", offset: 8, count: 1 },
      flags: { c: "flags", type: "u32", offset: 12, count: 1 },
      number: { c: "number", type: "u64", offset: 16, count: 1 },
      frameSeq: { c: "frame_seq", type: "u64", offset: 24, count: 1 },
      frameIndex: { c: "frame_index", type: "u64", offset: 32, count: 1 },
      sensorNs: { c: "sensor_ns", type: "u64", offset: 40, count: 1 },
      arrivalNs: { c: "arrival_ns", type: "u64", offset: 48, count: 1 },
      startNs: { c: "start_ns", type: "u64", offset: 56, count: 1 },
      doneNs: { c: "done_ns", type: "u64", offset: 64, count: 1 },
      deadlineNs: { c: "deadline_ns", type: "u64", offset: 72, count: 1 },
      digest: { c: "digest", type: "u64", offset: 80, count: 1 },
      payloadBytes: { c: "payload_bytes", type: "u32", offset: 88, count: 1 },
      reserved: { c: "reserved", type: "u32", offset: 92, count: 1 },
      position: { c: "position", type: "u64", offset: 96, count: 1 },
    },
  },
  datagram: {
    size: 24,
    fields: {
      magic: { c: "magic", type: "u32", offset: 0, count: 1 },
      version: { c: "version", type: "u32", offset: 4, count: 1 },
      sequence: { c: "sequence", type: "u64", offset: 8, count: 1 },
      sensorNs: { c: "sensor_ns", type: "u64", offset: 16, count: 1 },
    },
  },
  shm_record: {
    size: 48,
    fields: {
      sequence: { c: "sequence", type: "u64", offset: 0, count: 1 },
      number: { c: "number", type: "u64", offset: 8, count: 1 },
      sensorNs: { c: "sensor_ns", type: "u64", offset: 16, count: 1 },
      doneNs: { c: "done_ns", type: "u64", offset: 24, count: 1 },
      payloadBytes: { c: "payload_bytes", type: "u64", offset: 32, count: 1 },
      flags: { c: "flags", type: "u32", offset: 40, count: 1 },
      reserved: { c: "reserved", type: "u32", offset: 44, count: 1 },
    },
  },
  shm_info: {
    size: 56,
    fields: {
      slotCount: { c: "slot_count", type: "u32", offset: 0, count: 1 },
      format: { c: "format", type: "u32", offset: 4, count: 1 },
      slotBytes: { c: "slot_bytes", type: "u64", offset: 8, count: 1 },
      width: { c: "width", type: "u32", offset: 16, count: 1 },
      height: { c: "height", type: "u32", offset: 20, count: 1 },
      stride: { c: "stride", type: "u32", offset: 24, count: 1 },
      reserved: { c: "reserved", type: "u32", offset: 28, count: 1 },
      expiryNs: { c: "expiry_ns", type: "u64", offset: 32, count: 1 },
      head: { c: "head", type: "u64", offset: 40, count: 1 },
      overruns: { c: "overruns", type: "u64", offset: 48, count: 1 },
    },
  },
  event: {
    size: 200,
    fields: {
      sequence: { c: "sequence", type: "u64", offset: 0, count: 1 },
      timeNs: { c: "time_ns", type: "u64", offset: 8, count: 1 },
      kind: { c: "kind", type: "u32", offset: 16, count: 1 },
      source: { c: "source", type: "u32", offset: 20, count: 1 },
      a: { c: "a", type: "i64", offset: 24, count: 1 },
      b: { c: "b", type: "i64", offset: 32, count: 1 },
      text: { c: "text", type: "char", offset: 40, count: 160 },
    },
  },
  trace: {
    size: 128,
    fields: {
      kind: { c: "kind", type: "u32", offset: 0, count: 1 },
      source: { c: "source", type: "u32", offset: 4, count: 1 },
      number: { c: "number", type: "u64", offset: 8, count: 1 },
      beginNs: { c: "begin_ns", type: "u64", offset: 16, count: 1 },
      endNs: { c: "end_ns", type: "u64", offset: 24, count: 1 },
      sensorNs: { c: "sensor_ns", type: "u64", offset: 32, count: 1 },
      deadlineNs: { c: "deadline_ns", type: "u64", offset: 40, count: 1 },
      launchNs: { c: "launch_ns", type: "u64", offset: 48, count: 1 },
      queuedNs: { c: "queued_ns", type: "u64", offset: 56, count: 1 },
      deferredNs: { c: "deferred_ns", type: "u64", offset: 64, count: 1 },
      drainNs: { c: "drain_ns", type: "u64", offset: 72, count: 1 },
      usualNs: { c: "usual_ns", type: "u64", offset: 80, count: 1 },
      clockKey: { c: "clock_key", type: "u64", offset: 88, count: 1 },
      busyNs: { c: "busy_ns", type: "u64", offset: 96, count: 1 },
      outcome: { c: "outcome", type: "u32", offset: 104, count: 1 },
      drainJob: { c: "drain_job", type: "u32", offset: 108, count: 1 },
      step: { c: "step", type: "u32", offset: 112, count: 1 },
      level: { c: "level", type: "u32", offset: 116, count: 1 },
      preempted: { c: "preempted", type: "u32", offset: 120, count: 1 },
      reserved: { c: "reserved", type: "u32", offset: 124, count: 1 },
    },
  },
  sim_profile: {
    size: 208,
    fields: {
      abiVersion: { c: "abi_version", type: "u32", offset: 0, count: 1 },
      sizeBytes: { c: "size_bytes", type: "u32", offset: 4, count: 1 },
      name: { c: "name", type: "char", offset: 8, count: 64 },
      estimate: { c: "estimate", type: "u32", offset: 72, count: 1 },
      sms: { c: "sms", type: "u32", offset: 76, count: 1 },
      launchNs: { c: "launch_ns", type: "u64", offset: 80, count: 1 },
      launchJitterNs: { c: "launch_jitter_ns", type: "u64", offset: 88, count: 1 },
      gateWriteNs: { c: "gate_write_ns", type: "u64", offset: 96, count: 1 },
      blockDrainNs: { c: "block_drain_ns", type: "u64", offset: 104, count: 1 },
      loopDrainNs: { c: "loop_drain_ns", type: "u64", offset: 112, count: 1 },
      resumeNs: { c: "resume_ns", type: "u64", offset: 120, count: 1 },
      resumeJitterNs: { c: "resume_jitter_ns", type: "u64", offset: 128, count: 1 },
      followNs: { c: "follow_ns", type: "u64", offset: 136, count: 1 },
      skipEntryNs: { c: "skip_entry_ns", type: "u64", offset: 144, count: 1 },
      skipStepNs: { c: "skip_step_ns", type: "u64", offset: 152, count: 1 },
      copyBaseNs: { c: "copy_base_ns", type: "u64", offset: 160, count: 1 },
      copyBytesPerUs: { c: "copy_bytes_per_us", type: "u64", offset: 168, count: 1 },
      timerP50Ns: { c: "timer_p50_ns", type: "u64", offset: 176, count: 1 },
      timerP99Ns: { c: "timer_p99_ns", type: "u64", offset: 184, count: 1 },
      criticalDeviationPpm: { c: "critical_deviation_ppm", type: "u32", offset: 192, count: 1 },
      stepDeviationPpm: { c: "step_deviation_ppm", type: "u32", offset: 196, count: 1 },
      clockPermille: { c: "clock_permille", type: "u32", offset: 200, count: 1 },
      integrated: { c: "integrated", type: "u32", offset: 204, count: 1 },
    },
  },
  sim_faults: {
    size: 64,
    fields: {
      abiVersion: { c: "abi_version", type: "u32", offset: 0, count: 1 },
      sizeBytes: { c: "size_bytes", type: "u32", offset: 4, count: 1 },
      lateTimerNs: { c: "late_timer_ns", type: "u64", offset: 8, count: 1 },
      lateTimerPpm: { c: "late_timer_ppm", type: "u32", offset: 16, count: 1 },
      slowPpm: { c: "slow_ppm", type: "u32", offset: 20, count: 1 },
      slowPermille: { c: "slow_permille", type: "u32", offset: 24, count: 1 },
      lostPpm: { c: "lost_ppm", type: "u32", offset: 28, count: 1 },
      lateEntryNs: { c: "late_entry_ns", type: "u64", offset: 32, count: 1 },
      lateEntryPpm: { c: "late_entry_ppm", type: "u32", offset: 40, count: 1 },
      throttlePermille: { c: "throttle_permille", type: "u32", offset: 44, count: 1 },
      throttleBeginNs: { c: "throttle_begin_ns", type: "u64", offset: 48, count: 1 },
      throttleEndNs: { c: "throttle_end_ns", type: "u64", offset: 56, count: 1 },
    },
  },
} as const satisfies Record<string, StructLayout>;

/** For `Deno.dlopen`. */
export const SYMBOLS = {
  calypte_abi_version: {
    parameters: [],
    result: "i32",
  },
  calypte_layout: {
    parameters: [
      "buffer", // const char *name
    ],
    result: "i32",
  },
  calypte_version: {
    parameters: [
      "buffer", // uint8_t *text
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  calypte_last_error: {
    parameters: [
      "buffer", // uint8_t *text
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  calypte_now_ns: {
    parameters: [],
    result: "u64",
  },
  calypte_notify: {
    parameters: [
      "buffer", // const char *state
    ],
    result: "i32",
  },
  calypte_system_read: {
    parameters: [
      "buffer", // const char *path
      "buffer", // uint8_t *text
      "u64", // uint64_t capacity
    ],
    result: "i32",
  },
  calypte_system_list: {
    parameters: [
      "buffer", // const char *path
      "buffer", // uint8_t *names
      "u64", // uint64_t capacity
    ],
    result: "i32",
  },
  calypte_system_links: {
    parameters: [
      "buffer", // const char *path
      "buffer", // uint8_t *links
      "u64", // uint64_t capacity
    ],
    result: "i32",
  },
  calypte_system_write: {
    parameters: [
      "buffer", // const char *path
      "buffer", // const char *text
    ],
    result: "i32",
  },
  calypte_probe: {
    parameters: [
      "u32", // uint32_t backend
      "u32", // uint32_t device_index
      "buffer", // calypte_device *device
    ],
    result: "i32",
  },
  calypte_open: {
    parameters: [
      "buffer", // const calypte_options *options
    ],
    result: "i32",
  },
  calypte_close: {
    parameters: [
      "i32", // int32_t engine
    ],
    result: "i32",
  },
  calypte_device_of: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // calypte_device *device
    ],
    result: "i32",
  },
  calypte_features: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // calypte_feature *features
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  calypte_module: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const uint8_t *ptx
      "u32", // uint32_t size_bytes
    ],
    result: "i32",
  },
  calypte_kernel: {
    parameters: [
      "i32", // int32_t engine
      "i32", // int32_t module
      "buffer", // const char *name
    ],
    result: "i32",
  },
  calypte_kernel_info_of: {
    parameters: [
      "i32", // int32_t engine
      "i32", // int32_t kernel
      "u32", // uint32_t threads
      "u32", // uint32_t shared_bytes
      "buffer", // calypte_kernel_info *info
    ],
    result: "i32",
  },
  calypte_buffer: {
    parameters: [
      "i32", // int32_t engine
      "u64", // uint64_t size_bytes
    ],
    result: "i32",
  },
  calypte_buffer_write: {
    parameters: [
      "i32", // int32_t engine
      "i32", // int32_t buffer
      "u64", // uint64_t offset
      "buffer", // const uint8_t *data
      "u64", // uint64_t size_bytes
    ],
    result: "i32",
  },
  calypte_buffer_read: {
    parameters: [
      "i32", // int32_t engine
      "i32", // int32_t buffer
      "u64", // uint64_t offset
      "buffer", // uint8_t *data
      "u64", // uint64_t size_bytes
    ],
    result: "i32",
  },
  calypte_frames: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const uint8_t *data
      "u64", // uint64_t frame_bytes
      "u32", // uint32_t count
    ],
    result: "i32",
  },
  calypte_socket: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const char *path
    ],
    result: "i32",
  },
  calypte_ring_input: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const char *path
    ],
    result: "i32",
  },
  calypte_external: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const char *path
    ],
    result: "i32",
  },
  calypte_ring_output: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const char *path
      "u32", // uint32_t slots
      "u64", // uint64_t slot_bytes
      "u64", // uint64_t expiry_ns
    ],
    result: "i32",
  },
  calypte_plugin: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const uint8_t *spec
      "u32", // uint32_t size_bytes
    ],
    result: "i32",
  },
  calypte_plugin_info_of: {
    parameters: [
      "i32", // int32_t engine
      "i32", // int32_t plugin
      "buffer", // calypte_plugin_info *out
    ],
    result: "i32",
  },
  calypte_plugin_step_of: {
    parameters: [
      "i32", // int32_t engine
      "i32", // int32_t plugin
      "u32", // uint32_t step
      "buffer", // calypte_plugin_step *out
    ],
    result: "i32",
  },
  calypte_add: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const uint8_t *work
      "u32", // uint32_t size_bytes
    ],
    result: "i32",
  },
  calypte_run_once: {
    parameters: [
      "i32", // int32_t engine
      "u32", // uint32_t kind
      "i32", // int32_t work
      "buffer", // const uint8_t *input
      "u64", // uint64_t input_bytes
      "buffer", // uint8_t *output
      "u64", // uint64_t output_bytes
      "u64", // uint64_t timeout_ns
      "buffer", // uint64_t *duration_ns
    ],
    result: "i32",
  },
  calypte_check_surplus: {
    parameters: [
      "i32", // int32_t engine
      "i32", // int32_t job
      "buffer", // const uint8_t *input
      "u64", // uint64_t input_bytes
      "u32", // uint32_t launches
    ],
    result: "i32",
  },
  calypte_job_step: {
    parameters: [
      "i32", // int32_t engine
      "i32", // int32_t job
      "u32", // uint32_t step
      "buffer", // calypte_step_info *out
    ],
    result: "i32",
  },
  calypte_give_learned: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const uint8_t *data
      "u32", // uint32_t size_bytes
    ],
    result: "i32",
  },
  calypte_warm_up: {
    parameters: [
      "i32", // int32_t engine
    ],
    result: "i32",
  },
  calypte_timing_of: {
    parameters: [
      "i32", // int32_t engine
      "i32", // int32_t task
      "buffer", // calypte_timing *out
    ],
    result: "i32",
  },
  calypte_ready: {
    parameters: [
      "i32", // int32_t engine
    ],
    result: "i32",
  },
  calypte_serve: {
    parameters: [
      "buffer", // const char *path
      "u64", // uint64_t keep_ns
      "u32", // uint32_t flags
    ],
    result: "i32",
  },
  calypte_attach: {
    parameters: [
      "buffer", // const char *path
      "buffer", // const calypte_options *options
      "u64", // uint64_t timeout_ns
    ],
    result: "i32",
  },
  calypte_detach: {
    parameters: [
      "i32", // int32_t engine
    ],
    result: "i32",
  },
  calypte_keep: {
    parameters: [
      "i32", // int32_t engine
      "u64", // uint64_t keep_ns
    ],
    result: "i32",
  },
  calypte_process_of: {
    parameters: [
      "i32", // int32_t engine
    ],
    result: "i32",
  },
  calypte_kill: {
    parameters: [
      "i32", // int32_t engine
    ],
    result: "i32",
  },
  calypte_set_note: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const uint8_t *data
      "u32", // uint32_t size_bytes
    ],
    result: "i32",
  },
  calypte_note_of: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // uint8_t *data
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  calypte_isolated_of: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // calypte_isolated *out
    ],
    result: "i32",
  },
  calypte_add_isolated: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const calypte_isolated *job
      "buffer", // const char *page
    ],
    result: "i32",
  },
  calypte_admit: {
    parameters: [
      "i32", // int32_t engine
      "i32", // int32_t job
      "i32", // int32_t process
    ],
    result: "i32",
  },
  calypte_join: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const char *page
    ],
    result: "i32",
  },
  calypte_set_plan: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const calypte_plan *plan
    ],
    result: "i32",
  },
  calypte_hold: {
    parameters: [
      "i32", // int32_t engine
      "u32", // uint32_t bits
      "u32", // uint32_t on
    ],
    result: "i32",
  },
  calypte_set_safe_mode: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const calypte_safe_mode *rule
    ],
    result: "i32",
  },
  calypte_set_clocks: {
    parameters: [
      "i32", // int32_t engine
      "u64", // uint64_t key
    ],
    result: "i32",
  },
  calypte_take_learned: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // uint8_t *data
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  calypte_submit: {
    parameters: [
      "i32", // int32_t engine
      "u32", // uint32_t kind
      "i32", // int32_t work
      "buffer", // const uint8_t *input
      "u64", // uint64_t input_bytes
      "u64", // uint64_t sensor_ns
    ],
    result: "i32",
  },
  calypte_take_results: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // uint8_t *data
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  calypte_release_results: {
    parameters: [
      "i32", // int32_t engine
      "u64", // uint64_t position
    ],
    result: "i32",
  },
  calypte_retake_results: {
    parameters: [
      "i32", // int32_t engine
    ],
    result: "i32",
  },
  calypte_take_events: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // calypte_event *events
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  calypte_take_trace: {
    parameters: [
      "i32", // int32_t engine
      "u64", // uint64_t from
      "buffer", // calypte_trace *records
      "u32", // uint32_t capacity
      "buffer", // uint64_t *next
      "buffer", // uint64_t *lost
    ],
    result: "i32",
  },
  calypte_take_snapshot: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // calypte_snapshot *snapshot
      "u32", // uint32_t size_bytes
    ],
    result: "i32",
  },
  calypte_sim_advance: {
    parameters: [
      "i32", // int32_t engine
      "u64", // uint64_t until_ns
    ],
    result: "i32",
  },
  calypte_sim_profile_set: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const calypte_sim_profile *profile
    ],
    result: "i32",
  },
  calypte_sim_faults_set: {
    parameters: [
      "i32", // int32_t engine
      "buffer", // const calypte_sim_faults *faults
    ],
    result: "i32",
  },
  calypte_sim_replay_durations: {
    parameters: [
      "i32", // int32_t engine
      "u32", // uint32_t kind
      "i32", // int32_t work
      "buffer", // const uint64_t *times_ns
      "u32", // uint32_t count
    ],
    result: "i32",
  },
  calypte_sim_replay_arrivals: {
    parameters: [
      "i32", // int32_t engine
      "i32", // int32_t task
      "buffer", // const uint64_t *times_ns
      "u32", // uint32_t count
    ],
    result: "i32",
  },
  calypte_shm_create: {
    parameters: [
      "buffer", // const char *path
      "buffer", // const calypte_shm_info *shape
    ],
    result: "i32",
  },
  calypte_shm_open: {
    parameters: [
      "buffer", // const char *path
    ],
    result: "i32",
  },
  calypte_shm_write: {
    parameters: [
      "i32", // int32_t ring
      "buffer", // const uint8_t *payload
      "u64", // uint64_t payload_bytes
      "buffer", // const calypte_shm_record *about
    ],
    result: "i32",
  },
  calypte_shm_heartbeat: {
    parameters: [
      "i32", // int32_t ring
    ],
    result: "i32",
  },
  calypte_shm_read: {
    parameters: [
      "i32", // int32_t ring
      "buffer", // uint8_t *payload
      "u64", // uint64_t capacity
      "buffer", // calypte_shm_record *record
    ],
    result: "i32",
  },
  calypte_shm_wait: {
    parameters: [
      "i32", // int32_t ring
      "u64", // uint64_t timeout_ns
    ],
    result: "i32",
  },
  calypte_shm_seek: {
    parameters: [
      "i32", // int32_t ring
      "u32", // uint32_t newest
    ],
    result: "i32",
  },
  calypte_shm_alive: {
    parameters: [
      "i32", // int32_t ring
    ],
    result: "i32",
  },
  calypte_shm_info_of: {
    parameters: [
      "i32", // int32_t ring
      "buffer", // calypte_shm_info *info
    ],
    result: "i32",
  },
  calypte_shm_close: {
    parameters: [
      "i32", // int32_t ring
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;
