/*
 * calypte_plugin.h - what a library must offer so that calypte runs it as a bundle, and its manual.
 *
 * For code that cannot be exported to PTX: calls into cuBLAS, cuDNN, libtorch, or a vendor's library. A plugin is a
 * shared library with one exported function, calypte_plugin_table. It is named by `plugin` in a bundle.json
 * (docs/BUNDLE.md). Plain C; nothing of calypte is linked.
 *
 * What happens, in this order
 *   1. The library is opened, and its table is checked.
 *   2. create, then describe_buffers: what it wants must be what the bundle has.
 *   3. One plain enqueue, which is waited for: whatever a library sets up when it is first called, it sets up here.
 *   4. One more enqueue, which is captured into a graph. As background its nodes become steps of level `whole`, started
 *      one by one where there is time; as critical task the graph is launched whole. If the bundle says `capture: never`,
 *      or `auto` and it cannot be captured, enqueue is called for each unit or request instead, and what it enqueued is one
 *      step. To find out why a capture failed it may be captured once more, in another stream.
 *   5. destroy, when the engine closes.
 *
 * Threads: create, describe_buffers and destroy are called from the thread that loads, enqueue and generation from that
 * one and later from one other; never two at the same time for one instance. Instances are independent of each other. No
 * function may throw, exit, or change the process (signal handlers, directory, environment).
 *
 * Who owns what: the engine owns buffers, stream and context (the primary one, current when a function is called; a plugin
 * leaves it current). The plugin owns its instance and all that it allocated in create or in the first enqueue
 * (workspaces, handles, weights of its own); addresses that an enqueue used stay valid until destroy, or until `generation`
 * changes for the second time: at the first change, units that were enqueued before may still be at work. The table must live as long as the library.
 *
 * What enqueue may do: put kernels, copies and memsets into the stream it is given, and into streams of its own that are
 * forked from it and joined to it again by events (made with its priority: cuStreamGetPriority). From the second call on
 * it must not
 *   - allocate or free memory (workspaces are made in create; cudaMallocAsync makes nodes that are refused),
 *   - wait or ask (cudaStreamSynchronize, cudaDeviceSynchronize, cudaEventQuery ...),
 *   - use another stream that does not hang on the one it was given, the default stream least of all,
 *   - call the host from the stream, use conditional nodes, or begin a capture of its own,
 *   - copy from or to host memory that is not pinned, or that does not live as long as the instance.
 * It should take far less than a millisecond. The addresses are the same at each call.
 */
#ifndef CALYPTE_PLUGIN_H
#define CALYPTE_PLUGIN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CALYPTE_PLUGIN_ABI_VERSION 1
#define CALYPTE_PLUGIN_SYMBOL "calypte_plugin_table"
#define CALYPTE_PLUGIN_NAME_BYTES 128 /* including the final NUL */
#define CALYPTE_PLUGIN_MAX_BUFFERS 256

/* What a buffer is for, as in a bundle. */
#define CALYPTE_PLUGIN_INPUT 1   /* filled ahead of each unit; not to be written to */
#define CALYPTE_PLUGIN_OUTPUT 2
#define CALYPTE_PLUGIN_WEIGHT 3  /* filled once, from the bundle's files; not to be written to */
#define CALYPTE_PLUGIN_SCRATCH 4 /* undefined at the start of a unit */
#define CALYPTE_PLUGIN_STATE 5   /* kept from unit to unit; zero at first */

/* What calypte_plugin_host.simulate is told. The last four are faults, for tests of the engine. */
#define CALYPTE_PLUGIN_SIM_KERNEL 1
#define CALYPTE_PLUGIN_SIM_COPY 2
#define CALYPTE_PLUGIN_SIM_MEMSET 3
#define CALYPTE_PLUGIN_SIM_HOST 4        /* a call of the host */
#define CALYPTE_PLUGIN_SIM_EVENT 5       /* an event record or wait that stays in the graph */
#define CALYPTE_PLUGIN_SIM_CONDITIONAL 6
#define CALYPTE_PLUGIN_SIM_ASYNC_ALLOC 7 /* memory allocated in stream order */
#define CALYPTE_PLUGIN_SIM_CHILD_BEGIN 8 /* what comes until CHILD_END lies in a child graph */
#define CALYPTE_PLUGIN_SIM_CHILD_END 9
#define CALYPTE_PLUGIN_SIM_ALLOCATE 20
#define CALYPTE_PLUGIN_SIM_SYNCHRONIZE 21
#define CALYPTE_PLUGIN_SIM_OTHER_STREAM 22
#define CALYPTE_PLUGIN_SIM_DEFAULT_STREAM 23

/* What the engine offers to a plugin. Valid until destroy; `simulated` comes before anything that CUDA is asked. */
typedef struct calypte_plugin_host {
  uint32_t abi_version; /* CALYPTE_PLUGIN_ABI_VERSION */
  uint32_t size_bytes;  /* sizeof(calypte_plugin_host) */
  uint32_t simulated;   /* 1: there is no GPU; streams and addresses are made up, and CUDA must not be called */
  uint32_t device_index;
  const char *folder; /* where the library lies: for other files of its bundle (`plugin.data`) */
  /*
   * Only if `simulated`, else null: in place of a launch, what would have been enqueued and how long it takes. Returns 0, or
   * what CUDA would have returned. A plugin that cannot be simulated refuses in create.
   */
  int32_t (*simulate)(void *stream, uint32_t what, const char *name, uint64_t duration_ns);
} calypte_plugin_host;

/* A buffer that a plugin wants. */
typedef struct calypte_plugin_buffer {
  char name[CALYPTE_PLUGIN_NAME_BYTES]; /* as in the bundle */
  uint32_t role;                        /* CALYPTE_PLUGIN_INPUT ... */
  uint32_t reserved;
  uint64_t size_bytes; /* must equal the bundle's */
} calypte_plugin_buffer;

/*
 * The functions. Those that return an int32_t return 0, or a positive count, or a negative number with a text of at most
 * error_bytes - 1 bytes and a NUL in `error`: what is wrong, and what to do about it.
 */
typedef struct calypte_plugin_functions {
  uint32_t abi_version; /* CALYPTE_PLUGIN_ABI_VERSION */
  uint32_t size_bytes;  /* sizeof(calypte_plugin_functions) */
  const char *name;     /* for messages, with a version */
  /* `config` is the bundle's `plugin.config` as JSON, "{}" without. */
  int32_t (*create)(const calypte_plugin_host *host, const char *config, void **instance, char *error,
                    uint32_t error_bytes);
  /* Writes at most `capacity` buffers and returns how many there are. Their order is that of enqueue's addresses. */
  int32_t (*describe_buffers)(void *instance, calypte_plugin_buffer *buffers, uint32_t capacity, char *error,
                              uint32_t error_bytes);
  /* `addresses`: of the buffers on the GPU, 256-byte aligned. `stream`: a CUstream (cudaStream_t). */
  int32_t (*enqueue)(void *instance, const uint64_t *addresses, uint32_t count, void *stream, char *error,
                     uint32_t error_bytes);
  /*
   * May be null. A number that changes when enqueue would do something else from now on (another shape, another
   * algorithm, another workspace): ahead of the next unit it is captured again. It must not change by itself: a capture is
   * made in the middle of the work. As critical task only changes before the engine is ready count.
   */
  uint64_t (*generation)(void *instance);
  /* Nothing of the instance is at work any more. */
  void (*destroy)(void *instance);
} calypte_plugin_functions;

/* The one symbol that a plugin exports: the same table at each call. */
const calypte_plugin_functions *calypte_plugin_table(void);

#ifdef __cplusplus
}
#endif

#endif
