#define _GNU_SOURCE
#include "cuda.h"

#include <dlfcn.h>
#include <string.h>

static const char kWakePtx[] =
    ".version 6.0\n.target sm_50\n.address_size 64\n.visible .entry calypte_client_wake() { ret; }\n";

bool calypte_cuda_find(calypte_cuda *out) {
  /* The process's own driver or none: to load one is not ours to decide. */
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  if (library == NULL) return false;
  const struct {
    const char *name;
    void *place;
  } calls[] = {
      {"cuCtxGetCurrent", &out->context_get},         {"cuCtxSetCurrent", &out->context_set},
      {"cuModuleLoadData", &out->module_load},        {"cuModuleGetFunction", &out->module_function},
      {"cuStreamCreate", &out->stream_create},        {"cuLaunchKernel", &out->launch},
      {"cuLaunchHostFunc", &out->host_call},          {"cuStreamIsCapturing", &out->is_capturing},
  };
  bool whole = true;
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; ++i) {
    void *symbol = dlsym(library, calls[i].name);
    memcpy(calls[i].place, &symbol, sizeof symbol);
    whole = whole && symbol != NULL;
  }
  /* The process holds it already; this handle too stays, for the pointers above. */
  return whole;
}

bool calypte_waker_make(const calypte_cuda *cuda, void *context, calypte_waker *out) {
  enum { kNonBlocking = 1 };
  void *module = NULL;
  out->context = context;
  return cuda->context_set(context) == 0 && cuda->module_load(&module, kWakePtx) == 0 &&
         cuda->module_function(&out->function, module, "calypte_client_wake") == 0 &&
         cuda->stream_create(&out->stream, kNonBlocking) == 0;
}

void calypte_waker_wake(const calypte_cuda *cuda, const calypte_waker *waker) {
  cuda->launch(waker->function, 1, 1, 1, 1, 1, 1, 0, waker->stream, NULL, NULL);
}
