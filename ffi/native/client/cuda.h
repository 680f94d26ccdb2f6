/* What the client uses of the CUDA driver, where the process has it: found at run time, nothing else of CUDA is needed. */
#ifndef CALYPTE_CLIENT_CUDA_H
#define CALYPTE_CLIENT_CUDA_H

#include <stdbool.h>

typedef struct calypte_cuda {
  int (*context_get)(void **context);
  int (*context_set)(void *context);
  int (*module_load)(void **module, const void *image);
  int (*module_function)(void **function, void *module, const char *name);
  int (*stream_create)(void **stream, unsigned flags);
  int (*launch)(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                unsigned shared_bytes, void *stream, void **parameters, void **extra);
  int (*host_call)(void *stream, void (*call)(void *), void *argument);
  int (*is_capturing)(void *stream, int *status);
} calypte_cuda;

/* False: the process has not loaded the driver, or it lacks a call. Loads nothing. */
bool calypte_cuda_find(calypte_cuda *out);

/* An empty kernel in one context, to bring the GPU there. */
typedef struct calypte_waker {
  void *context;
  void *function;
  void *stream;
} calypte_waker;

/* In the calling thread, which stays in that context. Takes up to some ms. */
bool calypte_waker_make(const calypte_cuda *cuda, void *context, calypte_waker *out);
void calypte_waker_wake(const calypte_cuda *cuda, const calypte_waker *waker);

#endif
