/*
 * Critical work that stays where it is: three calls around it tell Calypte when it needs the GPU, and background leaves.
 *
 *   calypte_client *client = calypte_client_open("/run/calypte/detector.sock");
 *   for (;;) {
 *     calypte_expect(client, exposure_end_ns);        // optional: background leaves ahead of it
 *     wait_for_frame();
 *     calypte_begin(client, sensor_time_ns);
 *     context->enqueueV3(stream);                      // yours, as it always was
 *     calypte_end(client, stream);                     // ends when the stream has come so far
 *   }
 *   calypte_client_close(client);
 *
 * The mission names the socket: `critical: { detector: { external: /run/calypte/detector.sock, deadline: 15ms } }`.
 *
 * No call fails, waits for another process or allocates, but for open and close. Without an agent, and while it restarts,
 * begin, end and expect do nothing; the client connects by itself, within half a second, when one is there. A process
 * that ends between begin and end is noticed, and background comes back.
 *
 * C11, Linux, no library needed but the C library. The CUDA driver is used if the process has loaded it: to end with a
 * stream, and to bring the GPU back to this process's context ahead of a request.
 *
 * Threads: open and close from one thread; begin and expect from one thread at a time; end from any. A client belongs to
 * the process that opened it: one that was forked opens its own. Times are nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef CALYPTE_CLIENT_H
#define CALYPTE_CLIENT_H

#include <stdint.h>

#if defined(__GNUC__)
#define CALYPTE_CLIENT_API __attribute__((visibility("default")))
#else
#define CALYPTE_CLIENT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct calypte_client calypte_client;

/* In the place of a stream: the work is over already when the call is made. */
#define CALYPTE_NO_STREAM ((void *)~(uintptr_t)0)

/* What calypte_client_state says. */
#define CALYPTE_CLIENT_ALONE 0         /* no agent is there, or it restarts */
#define CALYPTE_CLIENT_SERVED 1        /* an engine listens */
#define CALYPTE_CLIENT_BUSY 2          /* another process is the client of this task */
#define CALYPTE_CLIENT_OTHER_VERSION 3 /* the agent's protocol is another one: update one of the two */

/*
 * Never null but for want of memory or threads, or for a path longer than 107 bytes. Does not wait: the connection is made
 * by a thread of its own. With a CUDA context current here, or at the first begin, that context is the one that is woken.
 */
CALYPTE_CLIENT_API calypte_client *calypte_client_open(const char *socket_path);
/* Ends what was begun. Null is allowed. Callbacks of streams may still be under way. */
CALYPTE_CLIENT_API void calypte_client_close(calypte_client *client);
/* CALYPTE_CLIENT_*; for people. Any thread. */
CALYPTE_CLIENT_API int calypte_client_state(const calypte_client *client);

/* A request will begin at `time_ns`, such as the end of an exposure; at most 10 s ahead. Each replaces the one before. */
CALYPTE_CLIENT_API void calypte_expect(calypte_client *client, uint64_t time_ns);
/*
 * A request begins: the GPU is needed from now on. `sensor_ns`: when its input was measured; 0: not known. Up to eight may
 * be under way. Returns its number, for calypte_end_of.
 */
CALYPTE_CLIENT_API uint64_t calypte_begin(calypte_client *client, uint64_t sensor_ns);
/*
 * The last request that was begun is over once all that was put into `stream` (a CUstream or cudaStream_t, null is CUDA's
 * default stream) before this call is done. On a stream that is being captured, or without CUDA, at once.
 */
CALYPTE_CLIENT_API void calypte_end(calypte_client *client, void *stream);
/* The same of the request with that number, where several are under way. */
CALYPTE_CLIENT_API void calypte_end_of(calypte_client *client, uint64_t number, void *stream);

#ifdef __cplusplus
}
#endif
#endif
