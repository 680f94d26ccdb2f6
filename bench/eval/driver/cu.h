// The CUDA driver, found at run time: the program starts, and feeds rings, on machines without one.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace eval {

// Names as cuda.h maps them, such as cuMemAlloc_v2.
#define EVAL_CUDA_CALLS(X)                                                                                            \
  X(cuGetErrorName)                                                                                                   \
  X(cuInit)                                                                                                           \
  X(cuDeviceGet) X(cuDeviceGetName) X(cuDeviceGetAttribute) X(cuDevicePrimaryCtxRetain) X(cuCtxSetCurrent)            \
      X(cuCtxGetStreamPriorityRange) X(cuCtxSynchronize) X(cuMemAlloc) X(cuMemHostAlloc) X(cuMemHostGetDevicePointer) \
          X(cuMemcpyHtoD) X(cuMemcpyDtoH) X(cuMemcpyHtoDAsync) X(cuMemcpyDtoHAsync) X(cuMemcpyDtoDAsync)              \
              X(cuMemsetD8Async) X(cuMemsetD8) X(cuModuleLoadData) X(cuModuleGetFunction) X(cuFuncSetAttribute)       \
                  X(cuStreamCreateWithPriority) X(cuStreamSynchronize) X(cuStreamQuery) X(cuStreamBeginCapture)       \
                      X(cuStreamEndCapture) X(cuStreamGetPriority) X(cuStreamWriteValue32)                            \
                          X(cuGraphInstantiateWithFlags) X(cuGraphUpload) X(cuGraphLaunch) X(cuLaunchKernel)          \
                              X(cuEventCreate) X(cuEventRecord) X(cuEventQuery) X(cuDeviceGetDevResource)             \
                                  X(cuDevSmResourceSplitByCount) X(cuDevResourceGenerateDesc) X(cuGreenCtxCreate)     \
                                      X(cuGreenCtxStreamCreate)

struct Cuda {
#define EVAL_CUDA_MEMBER(call) decltype(&::call) call##_ = nullptr;
  // Two steps, so that the macros of cuda.h are expanded before they become names.
#define EVAL_CUDA_EXPANDED(call) EVAL_CUDA_MEMBER(call)
  EVAL_CUDA_CALLS(EVAL_CUDA_EXPANDED)
#undef EVAL_CUDA_MEMBER
};

// The driver, initialised. Throws std::runtime_error.
const Cuda &cuda();

// Throws std::runtime_error with the call's name and the error's.
void check(CUresult result, const char *call);

#define EVAL_CALL(call) ::eval::cuda().call##_
#define EVAL_CALL_EXPANDED(call) EVAL_CALL(call)
#define CU(call, ...) ::eval::check(EVAL_CALL_EXPANDED(call)(__VA_ARGS__), #call)
// Without the check.
#define CU_RAW(call, ...) EVAL_CALL_EXPANDED(call)(__VA_ARGS__)

}  // namespace eval
