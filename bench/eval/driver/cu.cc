#include "cu.h"

#include <dlfcn.h>

#include <cstdlib>

namespace eval {
namespace {

#define EVAL_TEXT(name) #name
#define EVAL_TEXT_EXPANDED(name) EVAL_TEXT(name)

Cuda open_cuda() {
  // As Calypte's engine sets them, so that all systems run under the same.
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  const char *file = getenv("CALYPTE_EVAL_CUDA");  // a double, in tests
  void *library = dlopen(file == nullptr ? "libcuda.so.1" : file, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(std::string("no CUDA driver: ") + dlerror());
  Cuda found;
#define EVAL_CUDA_FIND(call)                                                                            \
  found.EVAL_CUDA_NAME(call) =                                                                          \
      reinterpret_cast<decltype(found.EVAL_CUDA_NAME(call))>(dlsym(library, EVAL_TEXT_EXPANDED(call))); \
  if (found.EVAL_CUDA_NAME(call) == nullptr)                                                            \
    throw std::runtime_error("the CUDA driver lacks " EVAL_TEXT_EXPANDED(call) ": CUDA 12.5 or newer is needed");
#define EVAL_CUDA_JOINED(call) call##_
#define EVAL_CUDA_NAME(call) EVAL_CUDA_JOINED(call)
  EVAL_CUDA_CALLS(EVAL_CUDA_FIND)
  if (found.EVAL_CUDA_NAME(cuInit)(0) != CUDA_SUCCESS) throw std::runtime_error("cuInit failed: no usable GPU");
  return found;
}

}  // namespace

const Cuda &cuda() {
  static const Cuda found = open_cuda();
  return found;
}

void check(CUresult result, const char *call) {
  if (result == CUDA_SUCCESS) return;
  const char *name = nullptr;
  CU_RAW(cuGetErrorName, result, &name);
  throw std::runtime_error(std::string(call) + ": " + (name == nullptr ? "unknown error" : name));
}

}  // namespace eval
