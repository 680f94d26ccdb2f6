/*
 * calypte.h - the one public header of libcalypte, and its manual.
 * house-rule: length, because a manual is read in one place.
 *
 * The library owns everything that happens in microseconds: the GPU context, the gate, critical
 * tasks and background jobs. The caller owns everything at 10 ms and up: it loads work, sets a plan
 * with a lease, and reads results, events and snapshots. The library never calls back, never prints,
 * never exits.
 *
 * Conventions
 *   - Every call returns a value >= 0, or a negative CALYPTE_E_* code. The text that goes with the
 *     last error of the calling thread is read with calypte_last_error().
 *   - An engine is a small positive integer. A closed or unknown engine gives CALYPTE_E_CLOSED;
 *     it never crashes. The same holds for the ids of modules, kernels, buffers, frames and work.
 *   - Times are nanoseconds of the monotonic clock (calypte_now_ns), or of virtual time if the
 *     engine was opened with CALYPTE_CLOCK_VIRTUAL. 0 means "none" unless a field says otherwise.
 *   - Thread rule: all calls on one engine come from one thread. Different engines are independent.
 *     calypte_now_ns, _notify, _system_*, _last_error, _abi_version and _layout are free-threaded.
 *   - Structs are flat and versioned by CALYPTE_ABI_VERSION: no pointers, little-endian, natural
 *     alignment, padding written out. They could as well lie in shared memory between processes.
 *   - Names are NUL-terminated UTF-8 in fixed arrays; a longer name gives CALYPTE_E_INVALID.
 *
 * Order of calls
 *   open -> modules, kernels, buffers, frames -> work -> [run_once] -> ready -> plan / submit / take -> close
 *   Loading calls after `ready` give CALYPTE_E_STATE.
 */
#ifndef CALYPTE_H
#define CALYPTE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CALYPTE_ABI_VERSION 5

/* Fixed limits. They bound memory and time on the microsecond path. */
#define CALYPTE_MAX_TASKS 7            /* critical tasks: the gate line holds one word for each, and hold */
#define CALYPTE_MAX_JOBS 24            /* background jobs */
#define CALYPTE_MAX_SAFE_MODE_COUNT 64 /* misses, or leases, that a calypte_safe_mode counts up to */
#define CALYPTE_MAX_STEPS 1024         /* steps of one unit or request */
#define CALYPTE_MAX_IO 16              /* input buffers, and output buffers, of one work */
#define CALYPTE_MAX_ENTRIES_AHEAD 16   /* background entries queued and not yet done, per engine */
#define CALYPTE_NOTE_BYTES 1048576     /* see calypte_set_note */
#define CALYPTE_MAX_SEGMENTS 64        /* of an isolated job */
#define CALYPTE_MAX_PLUGINS 64         /* per engine */
#define CALYPTE_MAX_PLUGIN_STEPS 1000  /* of one plugin */
#define CALYPTE_TRACE_RECORDS 16384    /* kept of the trace: see calypte_take_trace */
#define CALYPTE_NAME_BYTES 64          /* including the final NUL */
#define CALYPTE_TEXT_BYTES 160         /* including the final NUL */
#define CALYPTE_LEVELS 4
#define CALYPTE_HISTOGRAM_BUCKETS 1024 /* see calypte_histogram */

/* Errors. */
#define CALYPTE_OK 0
#define CALYPTE_E_INVALID -1     /* an argument breaks a rule; the text names it */
#define CALYPTE_E_CLOSED -2      /* no such engine: never opened, or closed */
#define CALYPTE_E_STATE -3       /* the call does not fit the engine's state, such as loading after ready */
#define CALYPTE_E_NO_DEVICE -4   /* no CUDA driver, no device, or built without the CUDA backend */
#define CALYPTE_E_NO_MEMORY -5   /* host or GPU memory exhausted */
#define CALYPTE_E_MODULE -6      /* the driver refused the module; the text carries its log */
#define CALYPTE_E_NOT_FOUND -7   /* no such kernel in the module, or no such id */
#define CALYPTE_E_LIMIT -8       /* one of the CALYPTE_MAX_* limits */
#define CALYPTE_E_BUSY -9        /* no free slot now: the request is counted as dropped */
#define CALYPTE_E_TIMEOUT -10    /* the work did not end, or the engine did not answer, in time */
#define CALYPTE_E_FAULT -11      /* a CUDA error ended the engine; only close is left (a new process is needed) */
#define CALYPTE_E_CUDA -12       /* another CUDA error; the text names call and code */
#define CALYPTE_E_BUFFER -13     /* the caller's buffer is too small; the text says how much it takes */
#define CALYPTE_E_LOST -14       /* the process that holds the engine has ended or does not answer; only close is left */
#define CALYPTE_E_DENIED -15     /* the system does not let this user do that */

/* Backends and clocks. */
#define CALYPTE_BACKEND_SIM 1
#define CALYPTE_BACKEND_CUDA 2
#define CALYPTE_CLOCK_REAL 1
#define CALYPTE_CLOCK_VIRTUAL 2 /* sim only: time moves only inside calypte_sim_advance */

/* Levels of preemptibility, the least preemptible first; see docs/PREEMPTION.md. */
#define CALYPTE_LEVEL_WHOLE 0
#define CALYPTE_LEVEL_SLICE 1
#define CALYPTE_LEVEL_BLOCK 2
#define CALYPTE_LEVEL_LOOP 3

#define CALYPTE_DATAGRAM_MAGIC 1498431811 /* "CAPY" */
#define CALYPTE_DATAGRAM_VERSION 1

/* How an engine opens (calypte_options.flags). */
#define CALYPTE_OPEN_WORKER 1      /* it holds one background job for another engine; see calypte_join */
#define CALYPTE_OPEN_LOCK_MEMORY 2 /* ready locks the memory of this whole process, the caller's too: see FEATURE_LOCKED_MEMORY */

#define CALYPTE_SERVE_OWN_PROCESS 1 /* flag of calypte_serve */

#define CALYPTE_NONE 4294967295 /* in the place of an id: there is none */

/* Features, probed at open and self-tested at ready; see calypte_feature. */
#define CALYPTE_FEATURE_STREAM_MEMOPS 0  /* the gate is closed and opened by stream memory operations */
#define CALYPTE_FEATURE_GRAPH_MEMOPS 1   /* ... also inside the critical graph */
#define CALYPTE_FEATURE_PARKED_RESUME 2  /* background resumes without the host, from a parked stream */
#define CALYPTE_FEATURE_STREAM_PRIORITY 3
#define CALYPTE_FEATURE_MAPPED_HOST 4    /* host memory mapped into the device's address space */
#define CALYPTE_FEATURE_INTEGRATED 5     /* CPU and GPU share memory */
#define CALYPTE_FEATURE_IPC 6            /* device memory can be shared between processes */
#define CALYPTE_FEATURE_REALTIME 7       /* the critical thread runs under SCHED_FIFO; `reason` also says on which core, if $CALYPTE_CRITICAL_CORE names one */
#define CALYPTE_FEATURE_LOCKED_MEMORY 8  /* since ready no page of this process leaves memory; asked for by OPEN_LOCK_MEMORY */
#define CALYPTE_FEATURE_RESERVED_SMS 9   /* SMs are kept for critical work (calypte_options.reserve_sms) */
#define CALYPTE_FEATURES 10

/* Bits that switch a feature off, to test the fall-back: 1 << CALYPTE_FEATURE_*. */

/* Why background is held (calypte_snapshot.hold_bits). */
#define CALYPTE_HOLD_NO_PLAN 1   /* no plan was set yet */
#define CALYPTE_HOLD_LEASE 2     /* the plan's lease ended */
#define CALYPTE_HOLD_CALLER 4    /* calypte_hold */
#define CALYPTE_HOLD_SHUTDOWN 8
#define CALYPTE_HOLD_FAULT 16    /* watchdog or CUDA error */
#define CALYPTE_HOLD_SAFE_MODE 32
#define CALYPTE_HOLD_DUTY 64     /* the plan's duty is used up until the next period */

/* Why safe mode stands (calypte_snapshot.safe_mode_reasons). */
#define CALYPTE_SAFE_MISSES 1  /* requests missed, as calypte_safe_mode says */
#define CALYPTE_SAFE_CALLER 2  /* calypte_hold with CALYPTE_HOLD_SAFE_MODE: heat, current, the operator */
#define CALYPTE_SAFE_PLANNER 4 /* leases ended without a new plan, as calypte_safe_mode says */

/* Kinds of kernel argument. */
#define CALYPTE_ARG_SCALAR 1       /* value: the bytes, little-endian; size_bytes 1..8 */
#define CALYPTE_ARG_BUFFER 2       /* value: buffer id; offset in bytes; passed as a 64-bit address */
#define CALYPTE_ARG_CONTROL 3      /* address of this job's control block (background only) */
#define CALYPTE_ARG_INPUT_SLOTS 4  /* address of a table of input slot addresses (background only) */
#define CALYPTE_ARG_OUTPUT_SLOTS 5 /* address of a table of output slot addresses (background only) */
#define CALYPTE_ARG_SLOT_COUNT 6   /* u32: entries in either table; unit u uses entry u % count */

/* Kinds of work, queue, deadline, miss handling and source. */
#define CALYPTE_WORK_CRITICAL 1
#define CALYPTE_WORK_BACKGROUND 2
#define CALYPTE_QUEUE_LATEST 1 /* a newer request replaces the one that waits; that one counts as dropped */
#define CALYPTE_QUEUE_FIFO 2   /* at most queue_depth wait; a newer one beyond that is dropped */
#define CALYPTE_FROM_ARRIVAL 1
#define CALYPTE_FROM_SENSOR 2
#define CALYPTE_ON_MISS_PUBLISH_LATE 1
#define CALYPTE_ON_MISS_DROP 2
#define CALYPTE_YIELD_ALWAYS 1      /* background leaves as soon as the task has work */
#define CALYPTE_YIELD_WHEN_NEEDED 2 /* ... or later, where the deadline allows what runs to come to an end first */
#define CALYPTE_YIELD_RESERVED 3    /* never: the task has SMs of its own; without RESERVED_SMS like ALWAYS */
#define CALYPTE_SOURCE_NONE 0   /* work without input, every period_ns; background with period_ns 0: back to back */
#define CALYPTE_SOURCE_FRAMES 1 /* the same with a frame as input */
#define CALYPTE_SOURCE_API 2    /* calypte_submit */
#define CALYPTE_SOURCE_SOCKET 3 /* critical: datagrams, see calypte_socket */
#define CALYPTE_SOURCE_RING 4   /* critical: records of a producer's ring, see calypte_ring_input */
#define CALYPTE_SOURCE_EXTERNAL 5 /* critical: another process does the work and says when, see calypte_external; no steps */

/* How a plugin's work is launched (calypte_plugin_spec.capture). */
#define CALYPTE_CAPTURE_AUTO 1    /* captured into a graph if that is possible, else called each time */
#define CALYPTE_CAPTURE_REQUIRE 2 /* what cannot be captured does not load */
#define CALYPTE_CAPTURE_NEVER 3   /* called each time */

/* Flags of a result. */
#define CALYPTE_RESULT_COMPLETE 1  /* the payload is the whole output */
#define CALYPTE_RESULT_LATE 2      /* a request that ended after its deadline */
#define CALYPTE_RESULT_DROPPED 4   /* a request that never ran; no payload */
#define CALYPTE_RESULT_SIMULATED 8 /* timing is simulated; the payload is absent and is the caller's to compute */
#define CALYPTE_RESULT_FAILED 16   /* the request was lost to a fault; no payload */

/* Kinds of event. */
#define CALYPTE_EVENT_READY 1
#define CALYPTE_EVENT_FEATURE 2       /* at ready, for each feature up to MAPPED_HOST, and IPC, that is off; text says why; a: feature */
#define CALYPTE_EVENT_LEASE_EXPIRED 3 /* a: plan id */
#define CALYPTE_EVENT_PLAN 4          /* a new plan is in force after a hold; a: plan id */
#define CALYPTE_EVENT_MISS 5          /* source: task; a: request number; b: lateness in ns */
#define CALYPTE_EVENT_FAULT 6         /* text says what; the engine holds */
#define CALYPTE_EVENT_WATCHDOG 7      /* source: task; a: request number; b: running for, in ns; the engine stops */
#define CALYPTE_EVENT_RESULTS_LOST 9  /* a: how many critical results found the store full and were lost */
#define CALYPTE_EVENT_WHOLE_REFUSED 10 /* source: job; a: step; b: estimate in ns; no window is long enough */
#define CALYPTE_EVENT_HOLD 11         /* a: bits before; b: bits after */
#define CALYPTE_EVENT_EVENTS_LOST 12  /* a: how many events found their store full and were lost */
#define CALYPTE_EVENT_ANTICIPATION 13 /* source: task; a: 1 on, 0 off as it did not pay; b: parts per million of time lost to it */
#define CALYPTE_EVENT_LONG_BLOCKS 14  /* source: job; a: blocks abandoned since the last event, none ended: it makes no progress */
#define CALYPTE_EVENT_INPUT 15        /* source: task; a: how many since the last such event; b: CALYPTE_INPUT_*. At most once a second for each b */
#define CALYPTE_EVENT_SAFE_MODE 17    /* a: CALYPTE_SAFE_* that stand from now on, 0: it is left; b: misses in the window */

#define CALYPTE_EVENT_WORKER 16       /* source: isolated job; a: CALYPTE_WORKER_*; b: LOST: units completed; HUNG: for how long, in ns */
#define CALYPTE_EVENT_MAPPED_INPUT 19 /* at ready, where CPU and GPU share memory; source: task; a: 1 its kernels read the input where the CPU put it, 0 it is copied; b: what the copy costs a request, in ns; text says why */
#define CALYPTE_EVENT_ENGINE 18       /* made by who supervises the engine's process; a: 1 lost, 2 restarted; b: 2: out of service for, in ns */

/* What became of the process of an isolated job (CALYPTE_EVENT_WORKER). */
#define CALYPTE_WORKER_JOINED 1
#define CALYPTE_WORKER_LOST 2     /* it has ended; the unit under way is begun again by the next one */
#define CALYPTE_WORKER_HUNG 3     /* it held the GPU for too long, or did not answer: it is killed */
#define CALYPTE_WORKER_NONSENSE 4 /* it wrote what no worker writes: it is killed */

/* What was wrong with what came over a socket or a ring (CALYPTE_EVENT_INPUT). */
#define CALYPTE_INPUT_WRONG_SIZE 1  /* not exactly input_bytes of payload; left out */
#define CALYPTE_INPUT_WRONG_HEAD 2  /* not a calypte_datagram of this version; left out */
#define CALYPTE_INPUT_SENSOR_TIME 3 /* a sensor time in the future or more than an hour old; taken as absent */
#define CALYPTE_INPUT_MISSING 4     /* gaps in the sequence, or records that the producer overwrote before they were taken */
#define CALYPTE_INPUT_UNHEARD 5     /* the dispatcher did not take them; left out */
#define CALYPTE_INPUT_NO_RING 6     /* tries to open the ring: there is none at its path, or it cannot be read */

/* States of an engine. */
#define CALYPTE_STATE_LOADING 1
#define CALYPTE_STATE_READY 2
#define CALYPTE_STATE_FAULT 3
#define CALYPTE_STATE_LOST 4 /* of an engine in another process: it has ended; the snapshot is its last one */

/* How the device is asked to open. */
typedef struct calypte_options {
  uint32_t abi_version;      /* CALYPTE_ABI_VERSION */
  uint32_t size_bytes;       /* sizeof(calypte_options) */
  uint32_t backend;          /* CALYPTE_BACKEND_* */
  uint32_t clock;            /* CALYPTE_CLOCK_*; virtual only with sim */
  uint32_t device_index;     /* 0 is the first */
  uint32_t disable_features; /* bits 1 << CALYPTE_FEATURE_*; 0 in production */
  uint64_t seed;             /* sim: of all its randomness */
  uint32_t sim_sms;          /* sim: SMs of the virtual GPU; 0 means 16 */
  uint32_t results_bytes;    /* results kept until taken; 0 means 16 MiB; 4 KiB to 1 GiB; one result takes at most an eighth */
  uint32_t reserve_sms;      /* SMs that background never uses; 0: none. Rounded up to what the device can split off */
  uint32_t flags;            /* CALYPTE_OPEN_* */
  uint32_t reserved[2];
} calypte_options;

/* What the device is. Attributes are read, never guessed from the name. */
typedef struct calypte_device {
  char name[64];
  char driver[64];            /* such as "CUDA 13.0"; empty for sim */
  uint32_t backend;
  uint32_t sms;
  uint32_t compute_major;
  uint32_t compute_minor;
  uint64_t memory_bytes;
  uint64_t memory_free_bytes; /* 0 from calypte_probe on cuda: only an open engine knows */
  uint32_t threads_per_sm;
  uint32_t shared_per_block_optin_bytes;
  uint32_t clock_khz;         /* 0: unknown */
  uint32_t copy_engines;
  uint32_t ptx_version;       /* newest PTX the driver takes, 85 for 8.5; 0: unknown */
  uint32_t reserved;
} calypte_device;

/* One probed feature. A feature that is off says why. */
typedef struct calypte_feature {
  uint32_t feature; /* CALYPTE_FEATURE_* */
  uint32_t on;      /* 1 or 0 */
  char reason[160];
} calypte_feature;

/* What the driver says of a kernel for one launch shape. sim: occupancy from the block size alone. */
typedef struct calypte_kernel_info {
  uint32_t registers;
  uint32_t local_bytes;
  uint32_t static_shared_bytes;
  uint32_t max_threads_per_block;
  uint32_t blocks_per_sm; /* resident blocks at the block and sharedBytes asked for; 0: does not fit */
  uint32_t param_count;   /* 0xffffffff: the driver cannot tell */
  uint32_t reserved[2];
} calypte_kernel_info;

/* One kernel argument. */
typedef struct calypte_arg {
  uint32_t kind; /* CALYPTE_ARG_* */
  uint32_t size_bytes;
  uint64_t value;
  uint64_t offset;
} calypte_arg;

/*
 * One step: one kernel launch. For CALYPTE_LEVEL_BLOCK and _LOOP the kernel was rewritten by the checkpoint
 * compiler and takes the parameters of docs/PREEMPTION.md behind its own; the library adds them. For _SLICE
 * the step is one range of blocks, whose parameters are among its args; it is launched like a WHOLE one.
 *
 * A BLOCK step that also has a loop_kernel may run as either: at load the engine measures how long each keeps
 * the GPU after the gate has closed, and takes level LOOP where BLOCK does not keep preemption_bound_ns.
 */
typedef struct calypte_step {
  uint32_t kernel;  /* id from calypte_kernel */
  uint32_t level;   /* CALYPTE_LEVEL_*; critical work: WHOLE */
  uint32_t grid[3]; /* virtual blocks, each >= 1; product < 2^31 */
  uint32_t block[3];
  uint32_t shared_bytes; /* dynamic */
  uint32_t workers;      /* BLOCK, LOOP: resident blocks N, at most 65535; 0: found at load, at most the grid */
  uint32_t first_arg;    /* index into the args of the work */
  uint32_t arg_count;
  uint32_t loop_kernel;  /* BLOCK: id of the same kernel at level LOOP; CALYPTE_NONE: none, and other levels */
  uint32_t period_slots; /* LOOP: issue slots between two reads of the gate, below 2^30; 0: found at load */
  uint32_t run_blocks;   /* BLOCK, LOOP with workers given: consecutive blocks between two draws, a power of two up to 2^20; 0: 1 */
  uint32_t reserved;
  uint64_t estimate_ns;       /* time of this step alone; 0: unknown (measured at ready on cuda) */
  uint64_t block_estimate_ns; /* time of one of its blocks; 0: unknown */
} calypte_step;

/* One input or output buffer of a work, in the order in which they lie in the input or output blob. */
typedef struct calypte_io {
  uint32_t buffer; /* id */
  uint32_t reserved;
  uint64_t offset;     /* in the blob, a multiple of 256 */
  uint64_t size_bytes; /* > 0 */
} calypte_io;

/* A buffer that a plugin may use; its contents are filled in before calypte_plugin. */
typedef struct calypte_plugin_io {
  char name[128];  /* as the plugin describes it */
  uint32_t buffer; /* id */
  uint32_t role;   /* CALYPTE_PLUGIN_INPUT ... of calypte_plugin.h */
} calypte_plugin_io;

/*
 * A plugin (calypte_plugin.h) for one work. Behind this struct, in the same block of memory, lie buffer_count
 * calypte_plugin_io, path_bytes of the library's absolute path and config_bytes of JSON, both without a NUL.
 */
typedef struct calypte_plugin_spec {
  uint32_t abi_version;
  uint32_t size_bytes;   /* of this struct with all that lies behind it */
  uint32_t kind;         /* CALYPTE_WORK_* of its work; critical: one step, launched whole */
  uint32_t capture;      /* CALYPTE_CAPTURE_* */
  uint32_t most_steps;   /* background: 1..CALYPTE_MAX_PLUGIN_STEPS; where there are more nodes, short neighbours form one step */
  uint32_t buffer_count; /* 1..256 */
  uint32_t path_bytes;   /* 1..4095 */
  uint32_t config_bytes; /* at most 1 MiB; 0: {} */
} calypte_plugin_spec;

/* How a plugin was loaded. */
typedef struct calypte_plugin_info {
  uint32_t step_count; /* >= 1 */
  uint32_t captured;   /* 1: as a graph; 0: it is called each time, and is one step */
  uint32_t node_count; /* of the graph, child graphs opened; 0: not captured */
  uint32_t kernels;    /* of these */
  uint32_t copies;
  uint32_t memsets;
  uint64_t captures;   /* how often it was captured: more than 1 if it said that it had changed */
  uint64_t longest_ns; /* of its steps, as measured at load; sim: as the plugin says. Its bound: a step is never interrupted */
  uint64_t total_ns;   /* of all of them */
  char name[128];      /* as the plugin gives it */
  char reason[256];    /* why it was not captured; empty: it was */
} calypte_plugin_info;

/* One step of a plugin, as its work takes it: level WHOLE, the plugin's buffers as the arguments of the first one. */
typedef struct calypte_plugin_step {
  uint32_t kernel;     /* for calypte_step.kernel */
  uint32_t node_count; /* of the graph's nodes; 0: a call of the plugin */
  uint32_t grid[3];    /* of its longest kernel; 1 each: none */
  uint32_t block[3];
  uint32_t shared_bytes;
  uint32_t reserved;
  uint64_t estimate_ns;
  char name[128];      /* of its longest kernel, "copy", "memset", or the plugin's */
} calypte_plugin_step;

/*
 * A critical task or a background job. Behind this struct, in the same block of memory, lie step_count calypte_step,
 * arg_count calypte_arg, input_count and output_count calypte_io, in this order and without gaps.
 */
typedef struct calypte_work {
  uint32_t abi_version;
  uint32_t size_bytes; /* of this struct with all that lies behind it */
  char name[64];
  uint8_t digest[32];  /* SHA-256 of the bundle; carried into results' consumers by the caller */
  uint32_t kind;       /* CALYPTE_WORK_* */
  uint32_t step_count;
  uint32_t arg_count;
  uint32_t input_count;
  uint32_t output_count;
  uint32_t source;      /* CALYPTE_SOURCE_* */
  uint32_t frames;      /* id from calypte_frames; SOURCE_FRAMES only */
  uint32_t queue;       /* critical: CALYPTE_QUEUE_* */
  uint32_t queue_depth; /* FIFO: 1..16; LATEST: 1 */
  uint32_t from;        /* critical: CALYPTE_FROM_* */
  uint32_t on_miss;     /* critical: CALYPTE_ON_MISS_* */
  uint32_t keep_output; /* 1: results carry the payload; 0: header and digest only */
  uint32_t yield;       /* critical: CALYPTE_YIELD_* */
  uint32_t anticipate;  /* critical: 1: background leaves ahead of the request that is expected next; 0: not */
  uint32_t channel;        /* SOCKET, RING, EXTERNAL: id from calypte_socket, _ring_input, _external, of no other work; else 0 */
  uint32_t output_channel; /* id from calypte_ring_output, of no other work: outputs are also written there; 0: not */
  uint64_t input_bytes;  /* of the input blob; 0: no input */
  uint64_t output_bytes; /* of the output blob; 0: no output */
  uint64_t period_ns;    /* SOURCE_NONE, SOURCE_FRAMES: critical > 0; background 0 for back to back. SOCKET, RING: a hint; 0: not known */
  uint64_t phase_ns;     /* first arrival after ready */
  uint64_t deadline_ns;  /* critical: > 0 */
  uint64_t max_blocking_ns; /* critical: how long a `whole` kernel may delay it; 0: not at all */
  uint64_t estimate_ns;  /* of one request or unit alone; 0: sum of the steps */
  uint64_t preemption_bound_ns; /* background: longest it may keep the GPU after the gate has closed; 0: no bound */
} calypte_work;

/* How a step of a background job runs, as chosen at load, and what was measured. On sim times are 0. */
typedef struct calypte_step_info {
  uint32_t level;        /* CALYPTE_LEVEL_* */
  uint32_t workers;      /* BLOCK, LOOP: resident blocks N */
  uint32_t period_slots; /* LOOP: issue slots between two reads of the gate */
  uint32_t run_blocks;   /* BLOCK, LOOP: consecutive blocks between two draws, a power of two */
  uint64_t block_ns;       /* undisturbed, at level BLOCK (WHOLE and SLICE: as it is); 0: not measured */
  uint64_t loop_ns;        /* ... at level LOOP; 0: not measured */
  uint64_t block_drain_ns; /* longest seen from closing the gate to the last worker gone, at BLOCK; 0: not measured */
  uint64_t loop_drain_ns;  /* ... at LOOP; 0: not measured */
} calypte_step_info;

/* Times of critical work by itself, as measured by calypte_warm_up, launch to completion as the host sees it. */
typedef struct calypte_timing {
  uint64_t runs;     /* 0: not measured, as on sim; the times are then the estimates */
  uint64_t best_ns;
  uint64_t p50_ns;
  uint64_t worst_ns;
} calypte_timing;

/* One stretch of a job's steps that are launched together; part of calypte_isolated. */
typedef struct calypte_segment {
  uint32_t first_step;
  uint32_t step_count;
  uint32_t whole;
  uint32_t level;         /* CALYPTE_LEVEL_* of its first step */
  uint32_t loop_permille; /* share of its time at level LOOP, of 1000 */
  uint32_t merges;        /* it and the next one are ranges of one grid */
  uint64_t estimate_ns;
} calypte_segment;

/* What a scheduler has to know of a background job that lives in another process; from calypte_isolated_of. */
typedef struct calypte_isolated {
  uint32_t abi_version;
  uint32_t size_bytes; /* sizeof(calypte_isolated) */
  char name[64];
  uint8_t digest[32];
  uint32_t step_count;
  uint32_t segment_count;   /* 1..64 */
  uint32_t units_per_entry;
  uint32_t reserved;
  uint64_t estimate_ns;     /* of a unit */
  uint64_t bound_ns;        /* preemption_bound_ns of its work */
  uint64_t drain_ns;
  uint64_t kill_after_ns;   /* how long an entry may stay behind a closed gate, beside four times its own time; 0: 50 ms */
  calypte_segment segments[64];
} calypte_isolated;

/* One entry of a plan. */
typedef struct calypte_plan_entry {
  uint32_t job;     /* id */
  uint32_t weight;  /* 1..1000000: share of background GPU time among the entries */
  uint64_t max_units; /* 0: no limit; else no more units are granted under this plan; at most 4 granted before still run */
} calypte_plan_entry;

/* What background may do, until when. Jobs that it does not name are paused. */
typedef struct calypte_plan {
  uint32_t abi_version;
  uint32_t size_bytes; /* sizeof(calypte_plan) */
  uint64_t id;         /* the caller's; larger than the one before */
  uint64_t lease_ns;   /* from now; > 0, at most 3600 s */
  uint32_t entry_count; /* 0: nothing runs */
  uint32_t duty_permille; /* share of time in which background may run at all, of 1000; 0: no limit */
  calypte_plan_entry entries[24];
} calypte_plan;

/*
 * When background is held by itself, as critical work goes wrong. A miss is any request that did not deliver in time:
 * late, dropped or failed. As many as `misses` within window_ns, of all tasks together, set CALYPTE_SAFE_MISSES in the
 * same step as the last of them; it ends clear_after_ns behind the last miss. As many as `stale_leases` leases that ended
 * set CALYPTE_SAFE_PLANNER; it ends clear_after_ns behind the last of them, if a plan is in force again by then. The
 * caller's reason ends when the caller says so. Background is held, CALYPTE_HOLD_SAFE_MODE, while any reason stands.
 * Misses from before safe mode was left still count for as long as they lie in the window.
 */
typedef struct calypte_safe_mode {
  uint32_t abi_version;
  uint32_t size_bytes;     /* sizeof(calypte_safe_mode) */
  uint32_t misses;         /* 0: misses do not enter it; at most 64 */
  uint32_t stale_leases;   /* 0: leases that end do not enter it; at most 64 */
  uint64_t window_ns;      /* > 0, at most 3600 s; ignored if both are 0 */
  uint64_t clear_after_ns; /* > 0, at most 3600 s; ignored if both are 0 */
} calypte_safe_mode;

/*
 * Log-linear histogram of durations: bucket 32 * (e - 9) + m for 2^e <= ns < 2^(e+1), e in 10..40,
 * m the five bits behind the leading one; everything below 1024 ns falls into bucket ns / 32.
 * From 1024 ns on the relative width of a bucket is at most 1/32; 2^41 ns and more fall into the last one. Minimum
 * and maximum are exact, and 0 while count is 0.
 */
typedef struct calypte_histogram {
  uint64_t count;
  uint64_t sum_ns;
  uint64_t min_ns;
  uint64_t max_ns;
  uint32_t buckets[1024];
} calypte_histogram;

typedef struct calypte_task_stats {
  uint64_t requests; /* arrivals so far, in whatever way they ended */
  uint64_t on_time;
  uint64_t late;
  uint64_t dropped; /* replaced or refused before they ran */
  uint64_t failed;
  uint64_t waiting;   /* now */
  uint64_t in_flight; /* now: 0 or 1 */
  uint64_t miss_run;         /* misses in a row, now */
  uint64_t longest_miss_run;
  uint64_t busy_ns;          /* launch to completion, summed */
  uint64_t next_arrival_ns;  /* 0: not known */
  uint64_t worst_execution_ns; /* launch to completion */
  uint64_t execution_p50_ns;   /* of late; 0: too few. Forgotten when the clocks change */
  uint64_t execution_p99_ns;
  uint64_t period_ns;   /* between arrivals, as given or learned; 0: irregular or not yet known */
  uint64_t jitter_ns;   /* 99 % of arrivals lay at most this far from where they were expected */
  uint64_t margin_ns;   /* the gate closes this long ahead of a request that is expected; 0: it does not */
  uint64_t anticipated; /* requests that found the gate closed for them */
  uint64_t wrong_guesses; /* closings ahead that no request followed in time */
  uint64_t ahead_ns;    /* the gate was closed ahead of requests for this long, in all */
  uint64_t deferred;    /* WHEN_NEEDED: requests that let background come to an end */
  uint64_t deferred_ns; /* ... and for how long, in all */
  calypte_histogram response; /* arrival to completion, requests that completed */
} calypte_task_stats;

typedef struct calypte_job_stats {
  uint64_t units;        /* completed */
  uint64_t ready_units;  /* input staged, not completed */
  uint64_t step;         /* the next step to complete, within the unit */
  uint64_t entries;      /* done */
  uint64_t preemptions;  /* entries in which a worker left */
  uint64_t leaves;       /* workers that left with work undone, counted on the device */
  uint64_t skipped_entries; /* entries that found nothing to do */
  uint64_t whole_launches;
  uint64_t gpu_ns[4];    /* by level */
  uint64_t unit_ns;      /* latest estimate of a unit's GPU time */
  uint64_t abandoned;    /* blocks left half-way and begun again, counted on the device */
  uint64_t drain_p99_ns; /* from closing the gate to the end of its entry, as the host saw it; 0: not yet seen */
  uint64_t outstanding;  /* entries queued or at work, now */
  uint64_t worker_state; /* isolated: 1: no process is there, 2: one is; 0: it is not isolated */
  uint64_t worker_kills; /* isolated: processes that were killed as they hung */
} calypte_job_stats;

/* The whole state at one moment. */
typedef struct calypte_snapshot {
  uint32_t abi_version;
  uint32_t size_bytes;
  uint64_t now_ns;
  uint64_t ready_ns; /* when the engine became ready; 0: not yet, or virtual time, which begins at 0 */
  uint32_t state;    /* CALYPTE_STATE_* */
  uint32_t backend;
  uint32_t task_count;
  uint32_t job_count;
  uint64_t plan_id;
  uint64_t lease_end_ns;
  uint32_t hold_bits; /* 0: background may run */
  uint32_t entries_ahead;
  uint64_t lease_expired;  /* how often */
  uint64_t safe_mode;      /* how often entered */
  uint32_t safe_mode_reasons; /* CALYPTE_SAFE_*; 0: it does not stand */
  uint32_t safe_mode_misses;  /* misses in the rule's window, now; at most 64 */
  uint64_t safe_mode_since_ns; /* 0: it does not stand */
  uint64_t safe_mode_ns;       /* it stood for this long, in all */
  uint64_t safe_mode_until_ns; /* when it is left if nothing more happens; 0: it does not stand, or not by itself */
  uint64_t critical_busy_ns;
  uint64_t background_busy_ns;
  uint64_t ahead_ns;       /* the gate was closed ahead of critical work for this long, in all */
  uint64_t clock_key;      /* as last given by calypte_set_clocks */
  uint64_t window_end_ns;  /* when the next request is expected; 0: not known */
  uint64_t events_lost;
  uint64_t dispatcher_steps;
  uint64_t dispatcher_worst_ns; /* longest scheduler step */
  calypte_task_stats tasks[7];
  calypte_job_stats jobs[24];
} calypte_snapshot;

/* One result; payload_bytes of payload lie behind it, then padding to a multiple of 8. */
typedef struct calypte_result {
  uint32_t size_bytes; /* header + payload + padding: where the next one begins */
  uint32_t kind;       /* CALYPTE_WORK_* */
  uint32_t work;       /* id of the task or job */
  uint32_t flags;      /* CALYPTE_RESULT_* */
  uint64_t number;     /* request number or unit id, from 0 */
  uint64_t frame_seq;  /* sequence number of the input frame, from 0 */
  uint64_t frame_index; /* frame_seq modulo the number of frames */
  uint64_t sensor_ns;
  uint64_t arrival_ns; /* critical: scheduled arrival; background: when the input was staged */
  uint64_t start_ns;   /* critical: launch; background: 0 */
  uint64_t done_ns;    /* output complete in host memory */
  uint64_t deadline_ns; /* absolute; 0 for background */
  uint64_t digest;     /* FNV-1a 64 of the output blob; 0 if none */
  uint32_t payload_bytes;
  uint32_t reserved;
  uint64_t position;   /* where the store ends with this result: what calypte_release_results takes */
} calypte_result;

/*
 * What a datagram for a CALYPTE_SOURCE_SOCKET begins with. Exactly input_bytes of payload follow. The kernel bounds a
 * datagram by the sender's SO_SNDBUF and that by net.core.wmem_max: larger inputs take a ring.
 */
typedef struct calypte_datagram {
  uint32_t magic;     /* CALYPTE_DATAGRAM_MAGIC */
  uint32_t version;   /* CALYPTE_DATAGRAM_VERSION */
  uint64_t sequence;  /* of the sender: one more each time, so that gaps are counted */
  uint64_t sensor_ns; /* CLOCK_MONOTONIC; 0: unknown */
} calypte_datagram;

/* One record of a ring, without its payload; the fields of calypte_ring_record in calypte_ring.h. */
typedef struct calypte_shm_record {
  uint64_t sequence;
  uint64_t number;
  uint64_t sensor_ns;
  uint64_t done_ns;
  uint64_t payload_bytes;
  uint32_t flags;
  uint32_t reserved;
} calypte_shm_record;

/* A ring's shape (calypte_ring_shape in calypte_ring.h), and what its reader met. */
typedef struct calypte_shm_info {
  uint32_t slot_count; /* 2..65536 */
  uint32_t format;     /* CALYPTE_RING_* of calypte_ring.h */
  uint64_t slot_bytes;
  uint32_t width;
  uint32_t height;
  uint32_t stride;
  uint32_t reserved;
  uint64_t expiry_ns;
  uint64_t head;     /* records completed; ignored by create, as is the next */
  uint64_t overruns; /* reader: records lost to it */
} calypte_shm_info;

typedef struct calypte_event {
  uint64_t sequence; /* from 1, no gaps unless EVENTS_LOST says so */
  uint64_t time_ns;
  uint32_t kind;   /* CALYPTE_EVENT_* */
  uint32_t source; /* task or job id, 0xffffffff: none */
  int64_t a;
  int64_t b;
  char text[160];
} calypte_event;

/* What a record of the trace tells of. */
#define CALYPTE_TRACE_REQUEST 1
#define CALYPTE_TRACE_SLICE 2

#define CALYPTE_OUTCOME_ON_TIME 0
#define CALYPTE_OUTCOME_LATE 1
#define CALYPTE_OUTCOME_DROPPED 2
#define CALYPTE_OUTCOME_FAILED 3

/*
 * One request of a critical task that has ended, or one slice: an entry of a background job, from its begin until it had done
 * its work or had left. Fields that are of the other kind are 0. Times are what the host saw.
 */
typedef struct calypte_trace {
  uint32_t kind;      /* CALYPTE_TRACE_* */
  uint32_t source;    /* task or job id */
  uint64_t number;    /* request number, or unit id */
  uint64_t begin_ns;  /* request: arrival; slice: the entry before it had ended, or the gate had opened */
  uint64_t end_ns;    /* request: output complete, or dropped; slice: its end was seen, up to 50 us late */
  uint64_t sensor_ns;
  uint64_t deadline_ns;
  uint64_t launch_ns;   /* 0: it never ran */
  uint64_t queued_ns;   /* of arrival to launch: other critical requests had the GPU for this long */
  uint64_t deferred_ns; /* ... and it let background come to its end for this long (WHEN_NEEDED) */
  uint64_t drain_ns;    /* from its launch until background was seen to have left; 0: none ran, or it left before */
  uint64_t usual_ns;    /* what launch to completion hardly ever exceeds, as known before this request */
  uint64_t clock_key;   /* of the clocks in force */
  uint64_t busy_ns;     /* slice: GPU time of its kernels */
  uint32_t outcome;     /* request: CALYPTE_OUTCOME_* */
  uint32_t drain_job;   /* request: the job whose entry the launch found running; UINT32_MAX: none */
  uint32_t step;        /* slice: the step that it began with */
  uint32_t level;       /* slice: CALYPTE_LEVEL_* of that step */
  uint32_t preempted;   /* slice: 1: it left with work undone */
  uint32_t reserved;
} calypte_trace;

/*
 * How the simulated device takes its time. Figures that were measured say where in the profile's file; figures that
 * were guessed set `estimate`. Without a profile the engine has the H200's times, and timers that are never late.
 */
typedef struct calypte_sim_profile {
  uint32_t abi_version;
  uint32_t size_bytes;  /* sizeof(calypte_sim_profile) */
  char name[64];
  uint32_t estimate;    /* 1: guessed, not measured */
  uint32_t sms;         /* 0: calypte_options.sim_sms */
  uint64_t launch_ns;         /* from a launch to its first block on an idle GPU */
  uint64_t launch_jitter_ns;  /* ... and up to this more, evenly */
  uint64_t gate_write_ns;     /* from calling for a gate write in a critical stream to the word in GPU memory */
  uint64_t block_drain_ns;    /* level BLOCK: from the end of the last running block to the GPU being free */
  uint64_t loop_drain_ns;     /* level LOOP: from closing to the GPU being free, at most */
  uint64_t resume_ns;         /* from the gate's opening to background blocks running again */
  uint64_t resume_jitter_ns;  /* ... and up to this more */
  uint64_t follow_ns;         /* from the end of an entry to the next one in the stream */
  uint64_t skip_entry_ns;     /* an entry that finds nothing to do */
  uint64_t skip_step_ns;      /* a kernel of an entry whose turn it is not */
  uint64_t copy_base_ns;      /* a copy of nothing between host and GPU */
  uint64_t copy_bytes_per_us; /* 10000 is 10 GB/s; > 0 */
  uint64_t timer_p50_ns;      /* the dispatcher wakes this late, half of the time at most */
  uint64_t timer_p99_ns;      /* ... 99 % of the time at most; >= timer_p50_ns */
  uint32_t critical_deviation_ppm; /* deviation of the logarithm of critical executions, in millionths; at most 200000 */
  uint32_t step_deviation_ppm;     /* ... of background steps */
  uint32_t clock_permille;    /* speed of kernels against what their estimates stand for; > 0; 1000: the same */
  uint32_t integrated;        /* 1: CPU and GPU share memory; 0: they do not */
} calypte_sim_profile;

/* What goes wrong on the simulated device, drawn by the engine's seed. All 0: nothing does. */
typedef struct calypte_sim_faults {
  uint32_t abi_version;
  uint32_t size_bytes;  /* sizeof(calypte_sim_faults) */
  uint64_t late_timer_ns;   /* a wake-up of the dispatcher is late by up to this */
  uint32_t late_timer_ppm;  /* ... this often, of a million */
  uint32_t slow_ppm;        /* steps and critical executions that are slow */
  uint32_t slow_permille;   /* ... and take this many thousandths of their time; >= 1000 if slow_ppm > 0 */
  uint32_t lost_ppm;        /* critical completions that never reach the host */
  uint64_t late_entry_ns;   /* the completion of a background entry reaches the host this much later */
  uint32_t late_entry_ppm;
  uint32_t throttle_permille;  /* speed of kernels between the two times below; > 0 if they differ */
  uint64_t throttle_begin_ns;  /* virtual time */
  uint64_t throttle_end_ns;
} calypte_sim_faults;

/* ---- Library ---- */

/* The ABI of the library: compare with CALYPTE_ABI_VERSION before any other call. */
int32_t calypte_abi_version(void);
/* sizeof of the named struct, or CALYPTE_E_NOT_FOUND. `name` without the prefix, such as "snapshot". */
int32_t calypte_layout(const char *name);
/* Version text such as "0.1.0 (cuda+sim)". Copies at most capacity bytes with the NUL; returns the length of the whole text. */
int32_t calypte_version(uint8_t *text, uint32_t capacity);
/* Text of this thread's last error. Copies at most capacity bytes with the NUL; returns the length of the whole text. */
int32_t calypte_last_error(uint8_t *text, uint32_t capacity);
/* Monotonic time in ns (CLOCK_MONOTONIC). */
uint64_t calypte_now_ns(void);

/*
 * Tells the service manager of this process, such as "READY=1" or "WATCHDOG=1" (systemd's sd_notify): one datagram to the Unix
 * socket that $NOTIFY_SOCKET names, which may be an abstract one. Never waits. Returns 1; 0: nobody asked to be told.
 * E_INVALID: the socket cannot be reached. Free-threaded.
 */
int32_t calypte_notify(const char *state);

/*
 * Files and folders of the system, for callers whose runtime reads none of it (Deno without --allow-all). Only what is really
 * below /proc or /sys, links followed; writing below /sys only. Nothing waits that the kernel does not make wait: some sensors do
 * for milliseconds. E_INVALID: another path, or longer than `capacity`. E_DENIED: not for this user. E_NOT_FOUND: not to be had; the
 * text says why. Free-threaded.
 */
/* The bytes of a file of less than `capacity` bytes; returns their number. */
int32_t calypte_system_read(const char *path, uint8_t *text, uint64_t capacity);
/* Names in a folder, also /proc and /sys themselves, each with its NUL, in no order; returns the bytes of all. */
int32_t calypte_system_list(const char *path, uint8_t *names, uint64_t capacity);
/* Likewise each link in a folder, and what it says: name, NUL, target, NUL. Nothing is followed. */
int32_t calypte_system_links(const char *path, uint8_t *links, uint64_t capacity);
/* Writes to a file that is there, in one piece. */
int32_t calypte_system_write(const char *path, const char *text);

/* Fills `device` for a backend without opening an engine. E_NO_DEVICE: the text says why. */
int32_t calypte_probe(uint32_t backend, uint32_t device_index, calypte_device *device);

/* ---- Engine: open and load ---- */

/* Opens an engine and returns its id. Takes up to a second with cuda. */
int32_t calypte_open(const calypte_options *options);
/* Ends background, waits for critical work in flight (at most 2 s), frees everything. */
int32_t calypte_close(int32_t engine);
int32_t calypte_device_of(int32_t engine, calypte_device *device);

/* Copies all features; `capacity` counts structs and must be >= CALYPTE_FEATURES. Returns how many. */
int32_t calypte_features(int32_t engine, calypte_feature *features, uint32_t capacity);

/* Compiles PTX (text, size_bytes without a NUL). Returns a module id. sim: keeps the names of its entries only. */
int32_t calypte_module(int32_t engine, const uint8_t *ptx, uint32_t size_bytes);
/* Finds a kernel. Returns a kernel id. */
int32_t calypte_kernel(int32_t engine, int32_t module, const char *name);
/* Resources of a kernel for blocks of `threads` threads with `shared_bytes` dynamic shared memory. */
int32_t calypte_kernel_info_of(int32_t engine, int32_t kernel, uint32_t threads, uint32_t shared_bytes,
                               calypte_kernel_info *info);

/* Allocates GPU memory, filled with zero bytes, 256-byte aligned. Returns a buffer id. */
int32_t calypte_buffer(int32_t engine, uint64_t size_bytes);
/* Copies into a buffer; returns when done. */
int32_t calypte_buffer_write(int32_t engine, int32_t buffer, uint64_t offset, const uint8_t *data, uint64_t size_bytes);
/* Copies out of a buffer; returns when done. Also allowed after `ready`; slow. */
int32_t calypte_buffer_read(int32_t engine, int32_t buffer, uint64_t offset, uint8_t *data, uint64_t size_bytes);
/* Keeps a copy of `count` frames of `frame_bytes` each. Returns a frames id. */
int32_t calypte_frames(int32_t engine, const uint8_t *data, uint64_t frame_bytes, uint32_t count);
/*
 * Binds a Unix datagram socket at `path` (mode 0660), for a task whose source is SOCKET. A socket that is there already is
 * replaced if nobody listens on it. Removed at close. Real clock only. Returns a channel id, from 1.
 */
int32_t calypte_socket(int32_t engine, const char *path);
/*
 * The ring that a producer writes (calypte_ring.h) at `path`, for a task whose source is RING; the producer may come and
 * go at any time, and an event says when there is none. Records from before `ready`, or before the ring was found, are not
 * taken. LATEST takes the newest; FIFO each in order, and counts those that were overwritten as dropped requests. Real clock
 * only. Returns a channel id.
 */
int32_t calypte_ring_input(int32_t engine, const char *path);
/*
 * Listens on a Unix socket at `path` (mode 0660; one that nobody listens on is replaced; removed at close) for a process
 * that does a critical task's work itself and says when it begins and ends (calypte_client.h), for a task whose source is
 * EXTERNAL. One client at a time; it may come and go, and what it had under way when it went counts as failed. From a
 * begin to its end, and ahead of what is expected, background keeps off the GPU; there are no results. With such a task
 * background is resumed by the host, as what is parked in a stream costs another context milliseconds. Real clock only.
 * Returns a channel id.
 */
int32_t calypte_external(int32_t engine, const char *path);
/*
 * Makes a ring at `path`, or takes over one of the same shape, for the outputs of one work: `number` is the request's or
 * unit's. `slots`: 2..65536; slot_bytes at least the work's output_bytes; expiry_ns: 10 ms to an hour. While the engine is
 * ready its dispatcher's last round is the heartbeat, renewed every expiry_ns / 4. The file stays at close, but for one that
 * was made for an engine that never became ready. On sim records carry CALYPTE_RING_SIMULATED and no payload. Real clock
 * only. Returns a channel id. E_BUSY: another process writes it.
 */
int32_t calypte_ring_output(int32_t engine, const char *path, uint32_t slots, uint64_t slot_bytes, uint64_t expiry_ns);
/*
 * Opens a plugin (calypte_plugin.h) for one work that is added next, tries it and captures it. Returns a plugin id, from 0.
 * Its code runs in the process that holds the engine: what it breaks, it breaks there. All steps of a plugin are steps of
 * one work, in their order. E_INVALID: it does not load, does not fit its buffers, errs, or does what enqueue must not; the
 * text says what, and what to do. sim: the plugin is opened too, and told that it is simulated.
 */
int32_t calypte_plugin(int32_t engine, const uint8_t *spec, uint32_t size_bytes);
/* How it was loaded. Also allowed after `ready`. */
int32_t calypte_plugin_info_of(int32_t engine, int32_t plugin, calypte_plugin_info *out);
/* One of its steps, 0 .. step_count - 1. Also allowed after `ready`. */
int32_t calypte_plugin_step_of(int32_t engine, int32_t plugin, uint32_t step, calypte_plugin_step *out);

/* Adds a critical task or a background job. Returns its id, from 0 for each kind. */
int32_t calypte_add(int32_t engine, const uint8_t *work, uint32_t size_bytes);

/*
 * Runs one request or unit by itself, without the scheduler, before `ready`: copies `input` in, runs all steps,
 * copies the output out. For verification and for measuring. `duration_ns` gets the GPU time of the steps (0 on sim,
 * where `output` is left as it is). timeout_ns 0 means 10 s.
 */
int32_t calypte_run_once(int32_t engine, uint32_t kind, int32_t work, const uint8_t *input, uint64_t input_bytes,
                         uint8_t *output, uint64_t output_bytes, uint64_t timeout_ns, uint64_t *duration_ns);

/*
 * Verification of the protocol, before `ready`: runs one unit of a background job, then launches all of its
 * block-level steps `launches` times more with nothing granted, as entries left over in a queue would. Returns how
 * many bytes of the job's buffers and output slots changed: 0. On sim nothing is launched, and 0 is returned.
 */
int32_t calypte_check_surplus(int32_t engine, int32_t job, const uint8_t *input, uint64_t input_bytes,
                              uint32_t launches);

/* How step `step` of a background job runs: level, workers and period are settled by the first run_once, or by ready. */
int32_t calypte_job_step(int32_t engine, int32_t job, uint32_t step, calypte_step_info *out);

/*
 * Gives back what calypte_take_learned gave, behind the last work and before warm_up, ready or a first run_once: what an
 * earlier engine learned of the same works on the same device. Returns how many of the works added so far it is about: same
 * kind, name, digest (not all 0) and steps; the rest of the data is left out. On cuda the levels and workers that were chosen
 * then are taken if a short look at them agrees, in place of the long search. E_INVALID, and nothing changes: the bytes were
 * changed or cut, or come from another device, driver or version of this library.
 */
int32_t calypte_give_learned(int32_t engine, const uint8_t *data, uint32_t size_bytes);
/*
 * Runs everything that was added until it is warm, and measures it. `ready` does it if it was not done before. Nothing
 * can be added afterwards.
 */
int32_t calypte_warm_up(int32_t engine);
/* What warm_up measured of a critical task, by which a caller can tell whether all deadlines can be met. */
int32_t calypte_timing_of(int32_t engine, int32_t task, calypte_timing *out);

/*
 * Self-tests the gate and the parked stream, warms up, uploads the graphs, starts the threads (real clock). From here on critical tasks with a source receive requests; background waits for a plan. What a self-test
 * lowers is reported by calypte_features and as events.
 */
int32_t calypte_ready(int32_t engine);

/* ---- Engines in another process ---- */

/*
 * Holds one engine for another process: listens on a Unix socket at `path` (mode 0600; one that nobody listens on is replaced) and
 * serves one caller of the same user at a time, who opens the engine by calypte_attach. Blocks until that caller closes the engine,
 * or until nobody has been attached for keep_ns (30 s before the first caller; at once for an engine that never was ready): 0.
 * E_FAULT: the engine has stopped; its events and results can still be taken by whoever is attached. CALYPTE_SERVE_OWN_PROCESS:
 * the process is there for nothing else: it leaves its terminal, ignores SIGINT and SIGHUP, and returns on SIGTERM. The
 * process should end soon after the return: what a GPU that hangs holds is not freed before.
 */
int32_t calypte_serve(const char *path, uint64_t keep_ns, uint32_t flags);
/*
 * Connects to the process that serves at `path`, and waits timeout_ns for one to appear (0: not). With `options` opens an engine there;
 * null: attaches to the one that is ready there, as after a caller that died. Returns an engine id, with which all calls work as if the
 * engine lived here. E_BUSY: somebody else is attached. E_NOT_FOUND: nobody serves there. E_STATE: it has an engine, or has none.
 * Once the process has ended, or has not answered for a second, calls give E_LOST; but the snapshot tells the last state
 * (CALYPTE_STATE_LOST), and events and results that were complete are still taken.
 */
int32_t calypte_attach(const char *path, const calypte_options *options, uint64_t timeout_ns);
/* Lets go of an engine in another process, which runs on. calypte_close ends it. */
int32_t calypte_detach(int32_t engine);
/* From now on the engine in another process goes on for keep_ns without a caller, instead of what calypte_serve was told. */
int32_t calypte_keep(int32_t engine, uint64_t keep_ns);
/* The process that holds the engine; 0: this one. */
int32_t calypte_process_of(int32_t engine);
/* Ends the process that holds the engine by SIGKILL, whatever it does. E_STATE: that is this one. */
int32_t calypte_kill(int32_t engine);
/* Leaves up to CALYPTE_NOTE_BYTES with the engine, for whoever attaches to it next. */
int32_t calypte_set_note(int32_t engine, const uint8_t *data, uint32_t size_bytes);
/* Returns the bytes of the note, 0 if there is none. E_BUFFER: it takes more than `capacity`. */
int32_t calypte_note_of(int32_t engine, uint8_t *data, uint32_t capacity);

/* ---- Jobs in processes of their own ---- */

/*
 * A background job may live in another process, its worker, with a GPU context of its own, so that what goes wrong in it does
 * not reach critical work. The worker opens an engine with CALYPTE_OPEN_WORKER, adds the one job, warms up, and takes the
 * description; the engine that is to schedule it adds that description before `ready`, behind all other background jobs. The
 * worker's process is admitted, and joins instead of being made ready. It may end at any time: the job waits then, and goes on with
 * the unit behind the last completed one when the next worker has been admitted and has joined. Results of the job are taken
 * from the worker; the first has the number of that unit.
 */

/* Worker, after warm_up or join: the description. E_LIMIT: its steps make more than CALYPTE_MAX_SEGMENTS segments. */
int32_t calypte_isolated_of(int32_t engine, calypte_isolated *out);
/*
 * Adds a job by its description, and makes the page that it shares with its worker at `page` (mode 0600, removed at close). Real
 * clock only. Returns the job's id. From then on other background jobs cannot be added.
 */
int32_t calypte_add_isolated(int32_t engine, const calypte_isolated *job, const char *page);
/* Process `process` may join as the worker of this job; one that has joined before has ended, or is killed. Any time. */
int32_t calypte_admit(int32_t engine, int32_t job, int32_t process);
/*
 * Worker, instead of `ready`: serves the engine that made `page`. E_BUSY: that was not told of this process within 500 ms. Without
 * warm_up before, as it must be where that engine is `ready` already, nothing of the job is run or measured: estimates and units
 * per entry are those of the description, and a step whose `workers` are not stated runs at its safest. E_INVALID: the job has
 * other steps than the description.
 */
int32_t calypte_join(int32_t engine, const char *page);

/* ---- Engine: run ---- */

/* Puts a plan in force. It replaces the one before; its lease begins now. */
int32_t calypte_set_plan(int32_t engine, const calypte_plan *plan);
/*
 * Sets (on = 1) or clears (on = 0) CALYPTE_HOLD_CALLER or CALYPTE_HOLD_SAFE_MODE. Of the latter the caller's reason only:
 * safe mode goes on while another one stands.
 */
int32_t calypte_hold(int32_t engine, uint32_t bits, uint32_t on);
/*
 * The rule of safe mode, before or after `ready`; without one only the caller enters it. Reasons that stand go by the new
 * rule from then on; one that it switches off ends.
 */
int32_t calypte_set_safe_mode(int32_t engine, const calypte_safe_mode *rule);

/*
 * Tells that the device now runs at other clocks or in another power mode: `key` stands for them, and is the caller's
 * choice. Durations learned under another key are set aside, and taken up again when it returns. 0 is the first key.
 */
int32_t calypte_set_clocks(int32_t engine, uint64_t key);

/*
 * Copies what was learned so far: durations by clock key, rhythms of arrivals, levels and workers of steps. Bytes to be
 * kept and given to calypte_give_learned, with a version and a checksum; some KiB for each work. Returns how many, also
 * where `data` is null. E_BUFFER: capacity is too small; the data grows while the engine learns, so leave some room.
 * Takes some milliseconds of the caller's time; E_TIMEOUT as take_snapshot.
 */
int32_t calypte_take_learned(int32_t engine, uint8_t *data, uint32_t capacity);
/*
 * Submits one request of a critical task, or one unit of a background job, whose source is API. Copies the input.
 * Returns the low 31 bits of its number. E_BUSY: no free slot; counted as dropped for a task.
 */
int32_t calypte_submit(int32_t engine, uint32_t kind, int32_t work, const uint8_t *input, uint64_t input_bytes,
                       uint64_t sensor_ns);

/*
 * Copies whole results into `data`, oldest first, as many as fit, each once. Returns the bytes used (0: none waits). E_BUFFER:
 * the first one does not fit. They stay in the store, and take its room, until they are released.
 */
int32_t calypte_take_results(int32_t engine, uint8_t *data, uint32_t capacity);
/*
 * Forgets all results up to `position` of one that was taken: whoever took them has put them where they are safe. Never
 * goes back; E_INVALID beyond what was taken.
 */
int32_t calypte_release_results(int32_t engine, uint64_t position);
/* The next take begins again with the oldest result that was not released, as after a caller that died in between. */
int32_t calypte_retake_results(int32_t engine);
/* Moves events, oldest first. Returns how many. */
int32_t calypte_take_events(int32_t engine, calypte_event *events, uint32_t capacity);
/*
 * Copies what was recorded of requests and slices, oldest first, from position `from` on (0: the oldest that is kept;
 * the last CALYPTE_TRACE_RECORDS are). Nothing is consumed, so that any number of readers may follow. Returns how many;
 * `next` gets the position behind the last, `lost` how many behind `from` were overwritten before this call.
 */
int32_t calypte_take_trace(int32_t engine, uint64_t from, calypte_trace *records, uint32_t capacity, uint64_t *next,
                           uint64_t *lost);
/* Copies the state. size_bytes must be sizeof(calypte_snapshot). E_TIMEOUT: the dispatcher did not answer within 200 ms. */
int32_t calypte_take_snapshot(int32_t engine, calypte_snapshot *snapshot, uint32_t size_bytes);

/*
 * Virtual time only: runs until `until_ns` and returns. Time starts at 0. Results and events that arise are kept
 * until taken; background stops where the results store is full, as in real time.
 */
int32_t calypte_sim_advance(int32_t engine, uint64_t until_ns);

/* Sim, before anything is loaded: the times of a device, and its faults. */
int32_t calypte_sim_profile_set(int32_t engine, const calypte_sim_profile *profile);
int32_t calypte_sim_faults_set(int32_t engine, const calypte_sim_faults *faults);

/*
 * Sim, before `ready`: what a recorded flight did is done again. `times_ns` are copied, behind those of the calls
 * before. Durations: request or unit n takes the n-th GPU time, and begins again behind the last one; 0: as without.
 * Arrivals: requests of a critical task whose source is API, in order of time.
 */
int32_t calypte_sim_replay_durations(int32_t engine, uint32_t kind, int32_t work, const uint64_t *times_ns, uint32_t count);
int32_t calypte_sim_replay_arrivals(int32_t engine, int32_t task, const uint64_t *times_ns, uint32_t count);

/* ---- Rings for callers that cannot map memory; C and C++ include calypte_ring.h instead ---- */

/*
 * A ring is a small positive integer, unknown ones give E_CLOSED. Its calls come from one thread at a time, which is
 * blocked by calypte_shm_wait; different rings are independent. No engine is needed.
 */

/* Opens `path` for writing, as calypte_ring_create. E_BUSY: it has a writer. E_STATE: the file is not a ring. */
int32_t calypte_shm_create(const char *path, const calypte_shm_info *shape);
/* Opens `path` for reading what comes from now on, as calypte_ring_open. E_NOT_FOUND: no file. E_STATE: it is not a ring. */
int32_t calypte_shm_open(const char *path);
/* Writes one record. E_BUFFER: payload_bytes is more than a slot holds. */
int32_t calypte_shm_write(int32_t ring, const uint8_t *payload, uint64_t payload_bytes, const calypte_shm_record *about);
/* Tells readers that the writer lives. */
int32_t calypte_shm_heartbeat(int32_t ring);
/* Copies the next record. Returns 1; 0: none is there. E_BUFFER: record->payload_bytes says how much it takes. */
int32_t calypte_shm_read(int32_t ring, uint8_t *payload, uint64_t capacity, calypte_shm_record *record);
/* Waits for a record, at most timeout_ns (up to 60 s). Returns 1; 0: none came. */
int32_t calypte_shm_wait(int32_t ring, uint64_t timeout_ns);
/* Skips to the newest record (newest = 1), or goes back to the oldest that is still there (0). */
int32_t calypte_shm_seek(int32_t ring, uint32_t newest);
/* 1: the writer lives; 0: its heartbeat is too old, or there is none. */
int32_t calypte_shm_alive(int32_t ring);
int32_t calypte_shm_info_of(int32_t ring, calypte_shm_info *info);
/* The file stays. */
int32_t calypte_shm_close(int32_t ring);

#ifdef __cplusplus
}
#endif
#endif
