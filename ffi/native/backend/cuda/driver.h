// Which entry points does this machine's CUDA driver have? Found at run time, so that the same library loads
// where there is none. Optional ones may be null: whoever calls them asks first.
#pragma once

#include <cuda.h>

#include <cstdint>

namespace calypte::cuda {

// X(return type is always CUresult, name in the table, symbol, required)
#define CALYPTE_CUDA_CALLS(X)                                                      \
  X(Init, cuInit, true)                                                            \
  X(DriverGetVersion, cuDriverGetVersion, true)                                    \
  X(GetErrorName, cuGetErrorName, true)                                            \
  X(DeviceGet, cuDeviceGet, true)                                                  \
  X(DeviceGetCount, cuDeviceGetCount, true)                                        \
  X(DeviceGetName, cuDeviceGetName, true)                                          \
  X(DeviceGetAttribute, cuDeviceGetAttribute, true)                                \
  X(DevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, true)                        \
  X(DevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, true)                   \
  X(DevicePrimaryCtxSetFlags, cuDevicePrimaryCtxSetFlags_v2, true)                 \
  X(DeviceTotalMem, cuDeviceTotalMem_v2, true)                                     \
  X(CtxSetCurrent, cuCtxSetCurrent, true)                                          \
  X(CtxGetStreamPriorityRange, cuCtxGetStreamPriorityRange, true)                  \
  X(CtxSynchronize, cuCtxSynchronize, true)                                        \
  X(MemGetInfo, cuMemGetInfo_v2, true)                                             \
  X(MemAlloc, cuMemAlloc_v2, true)                                                 \
  X(MemFree, cuMemFree_v2, true)                                                   \
  X(MemHostAlloc, cuMemHostAlloc, true)                                            \
  X(MemFreeHost, cuMemFreeHost, true)                                              \
  X(MemHostGetDevicePointer, cuMemHostGetDevicePointer_v2, true)                   \
  X(MemHostRegister, cuMemHostRegister_v2, false)                                  \
  X(MemHostUnregister, cuMemHostUnregister, false)                                 \
  X(MemcpyHtoDAsync, cuMemcpyHtoDAsync_v2, true)                                   \
  X(MemcpyDtoHAsync, cuMemcpyDtoHAsync_v2, true)                                   \
  X(MemcpyDtoDAsync, cuMemcpyDtoDAsync_v2, true)                                   \
  X(MemsetD8Async, cuMemsetD8Async, true)                                          \
  X(ModuleLoadDataEx, cuModuleLoadDataEx, true)                                    \
  X(ModuleUnload, cuModuleUnload, true)                                            \
  X(ModuleGetFunction, cuModuleGetFunction, true)                                  \
  X(FuncGetAttribute, cuFuncGetAttribute, true)                                    \
  X(FuncSetAttribute, cuFuncSetAttribute, true)                                    \
  X(FuncGetParamInfo, cuFuncGetParamInfo, false)                                   \
  X(OccupancyMaxActiveBlocks, cuOccupancyMaxActiveBlocksPerMultiprocessor, true)   \
  X(StreamCreateWithPriority, cuStreamCreateWithPriority, true)                    \
  X(StreamDestroy, cuStreamDestroy_v2, true)                                       \
  X(StreamSynchronize, cuStreamSynchronize, true)                                  \
  X(StreamQuery, cuStreamQuery, true)                                              \
  X(StreamBeginCapture, cuStreamBeginCapture_v2, true)                             \
  X(StreamEndCapture, cuStreamEndCapture, true)                                    \
  X(StreamWriteValue32, cuStreamWriteValue32_v2, false)                            \
  X(StreamWriteValue64, cuStreamWriteValue64_v2, false)                            \
  X(StreamWaitValue32, cuStreamWaitValue32_v2, false)                              \
  X(StreamBatchMemOp, cuStreamBatchMemOp_v2, false)                                \
  X(StreamGetCaptureInfo3, cuStreamGetCaptureInfo_v3, false)                       \
  X(StreamUpdateCaptureDependencies2, cuStreamUpdateCaptureDependencies_v2, false) \
  X(GraphGetNodes, cuGraphGetNodes, false)                                         \
  X(GraphNodeGetType, cuGraphNodeGetType, false)                                   \
  X(GraphGetEdges2, cuGraphGetEdges_v2, false)                                     \
  X(GraphChildGraphNodeGetGraph, cuGraphChildGraphNodeGetGraph, false)             \
  X(GraphAddChildGraphNode, cuGraphAddChildGraphNode, false)                       \
  X(GraphKernelNodeGetParams, cuGraphKernelNodeGetParams_v2, false)                \
  X(GraphClone, cuGraphClone, false)                                               \
  X(GraphNodeFindInClone, cuGraphNodeFindInClone, false)                           \
  X(GraphDestroyNode, cuGraphDestroyNode, false)                                   \
  X(FuncGetName, cuFuncGetName, false)                                             \
  X(KernelGetName, cuKernelGetName, false)                                         \
  X(GraphInstantiate, cuGraphInstantiateWithFlags, true)                           \
  X(GraphUpload, cuGraphUpload, true)                                              \
  X(GraphLaunch, cuGraphLaunch, true)                                              \
  X(GraphDestroy, cuGraphDestroy, true)                                            \
  X(GraphExecDestroy, cuGraphExecDestroy, true)                                    \
  X(LaunchKernel, cuLaunchKernel, true)                                            \
  X(EventCreate, cuEventCreate, true)                                              \
  X(EventDestroy, cuEventDestroy_v2, true)                                         \
  X(EventRecord, cuEventRecord, true)                                              \
  X(EventQuery, cuEventQuery, true)                                                \
  X(EventElapsedTime, cuEventElapsedTime, true)                                    \
  X(DeviceGetDevResource, cuDeviceGetDevResource, false)                           \
  X(DevSmResourceSplitByCount, cuDevSmResourceSplitByCount, false)                 \
  X(DevResourceGenerateDesc, cuDevResourceGenerateDesc, false)                     \
  X(GreenCtxCreate, cuGreenCtxCreate, false)                                       \
  X(GreenCtxDestroy, cuGreenCtxDestroy, false)                                     \
  X(GreenCtxStreamCreate, cuGreenCtxStreamCreate, false)                           \
  X(IpcGetMemHandle, cuIpcGetMemHandle, false)                                     \
  X(IpcOpenMemHandle, cuIpcOpenMemHandle_v2, false)                                \
  X(IpcCloseMemHandle, cuIpcCloseMemHandle, false)

// As older drivers have them; newer headers declare only what came after.
// X(arguments, name in the table, symbol); all optional.
#define CALYPTE_CUDA_OLD_CALLS(X)                                                                 \
  X((CUgraph, CUgraphNode *, CUgraphNode *, size_t *), GraphGetEdges1, "cuGraphGetEdges")         \
  X((CUstream, CUstreamCaptureStatus *, cuuint64_t *, CUgraph *, const CUgraphNode **, size_t *), \
    StreamGetCaptureInfo2, "cuStreamGetCaptureInfo_v2")                                           \
  X((CUstream, CUgraphNode *, size_t, unsigned), StreamUpdateCaptureDependencies1, "cuStreamUpdateCaptureDependencies")

struct Driver {
#define CALYPTE_CUDA_OLD_MEMBER(arguments, member, symbol) CUresult(*member) arguments = nullptr;
  CALYPTE_CUDA_OLD_CALLS(CALYPTE_CUDA_OLD_MEMBER)
#undef CALYPTE_CUDA_OLD_MEMBER
#define CALYPTE_CUDA_MEMBER(member, symbol, required) decltype(&::symbol) member = nullptr;
  CALYPTE_CUDA_CALLS(CALYPTE_CUDA_MEMBER)
#undef CALYPTE_CUDA_MEMBER
  int version = 0;  // 13000 for CUDA 13.0
};

// The driver, initialised; null with the error set (CALYPTE_E_NO_DEVICE). Sets CUDA_DEVICE_MAX_CONNECTIONS and
// CUDA_MODULE_LOADING for the process unless they are set, which must happen before the driver starts.
const Driver *driver();

// Sets the error text for a failed call and returns the code that fits it.
int32_t fail_cuda(CUresult result, const char *call, const char *what);

// Newest PTX version that a driver of this CUDA version compiles (85 for 8.5), by NVIDIA's release notes; 0: unknown.
uint32_t ptx_version_of(int cuda_version);

// Returns from the calling function on failure.
#define CALYPTE_CU(call, what)                                                    \
  do {                                                                            \
    if (const CUresult calypte_result_ = (call); calypte_result_ != CUDA_SUCCESS) \
      return ::calypte::cuda::fail_cuda(calypte_result_, #call, what);            \
  } while (0)

}  // namespace calypte::cuda
