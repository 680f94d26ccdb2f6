// One device, as the environment describes it, and the words for errors.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "calls.h"

namespace cuda_on_cpu {

int greatest_priority() { return left_out("priorities") ? 0 : -5; }

namespace calls {
namespace {

struct Words {
  CUresult result;
  const char *name, *text;
};

// The names that this driver gives, and a few of their neighbours.
const Words kWords[] = {
#define WORDS(name, text) {name, #name, text},
    WORDS(CUDA_SUCCESS, "no error") WORDS(CUDA_ERROR_INVALID_VALUE, "invalid argument") WORDS(
        CUDA_ERROR_OUT_OF_MEMORY,
        "out of memory") WORDS(CUDA_ERROR_NOT_INITIALIZED,
                               "initialization error") WORDS(CUDA_ERROR_DEINITIALIZED,
                                                             "driver shutting down") WORDS(CUDA_ERROR_NO_DEVICE,
                                                                                           "no CUDA-capable device is "
                                                                                           "detected")
        WORDS(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal") WORDS(
            CUDA_ERROR_INVALID_IMAGE,
            "device kernel image is invalid") WORDS(CUDA_ERROR_INVALID_CONTEXT,
                                                    "invalid device context") WORDS(CUDA_ERROR_MAP_FAILED,
                                                                                    "mapping of buffer object failed")
            WORDS(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device") WORDS(
                CUDA_ERROR_INVALID_PTX,
                "a PTX JIT compilation failed") WORDS(CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
                                                      "the provided PTX was compiled with an unsupported toolchain.")
                WORDS(CUDA_ERROR_INVALID_SOURCE, "device kernel image is invalid") WORDS(
                    CUDA_ERROR_INVALID_HANDLE,
                    "invalid resource handle") WORDS(CUDA_ERROR_ILLEGAL_STATE,
                                                     "the operation cannot be performed in the present state")
                    WORDS(CUDA_ERROR_NOT_FOUND, "named symbol not found") WORDS(
                        CUDA_ERROR_NOT_READY, "device not ready") WORDS(CUDA_ERROR_ILLEGAL_ADDRESS,
                                                                        "an illegal memory access was encountered")
                        WORDS(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch") WORDS(
                            CUDA_ERROR_LAUNCH_TIMEOUT,
                            "the launch timed out and was terminated") WORDS(CUDA_ERROR_CONTEXT_IS_DESTROYED,
                                                                             "context is destroyed")
                            WORDS(CUDA_ERROR_ASSERT, "device-side assert triggered") WORDS(
                                CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
                                "part or all of the requested memory range is already mapped")
                                WORDS(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED,
                                      "pointer does not correspond to a registered memory region")
                                    WORDS(CUDA_ERROR_ILLEGAL_INSTRUCTION,
                                          "an illegal instruction was encountered") WORDS(CUDA_ERROR_LAUNCH_FAILED,
                                                                                          "unspecified launch failure")
                                        WORDS(CUDA_ERROR_NOT_PERMITTED, "operation not permitted") WORDS(
                                            CUDA_ERROR_NOT_SUPPORTED,
                                            "operation not supported") WORDS(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                                                                             "operation not permitted when stream is "
                                                                             "capturing")
                                            WORDS(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
                                                  "operation failed due to a previous error during capture")
                                                WORDS(CUDA_ERROR_STREAM_CAPTURE_MERGE,
                                                      "operation would result in a merge of separate capture sequences")
                                                    WORDS(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED,
                                                          "capture was not ended in the same stream as it began")
                                                        WORDS(CUDA_ERROR_STREAM_CAPTURE_UNJOINED,
                                                              "capturing stream has unjoined work")
                                                            WORDS(CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
                                                                  "dependency created on uncaptured work in another "
                                                                  "stream")
                                                                WORDS(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
                                                                      "operation would make the legacy stream depend "
                                                                      "on a capturing blocking stream")
                                                                    WORDS(CUDA_ERROR_CAPTURED_EVENT,
                                                                          "operation not permitted on an event last "
                                                                          "recorded in a capturing stream")
                                                                        WORDS(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
                                                                              "attempt to terminate a thread-local "
                                                                              "capture sequence from another thread")
                                                                            WORDS(CUDA_ERROR_INVALID_RESOURCE_TYPE,
                                                                                  "invalid resource type")
                                                                                WORDS(
                                                                                    CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION,
                                                                                    "invalid resource configuration")
                                                                                    WORDS(CUDA_ERROR_UNKNOWN,
                                                                                          "unknown error")
#undef WORDS
};

CUresult words_of(CUresult result, const char **out, bool name) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (const Words &words : kWords) {
    if (words.result != result) continue;
    *out = name ? words.name : words.text;
    return CUDA_SUCCESS;
  }
  *out = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}

int value_of(CUdevice_attribute attribute) {
  const int capability = settings().compute_capability;
  const bool memops = !left_out("memops");
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
      return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
      return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
      return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
      return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      return 48 * 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      return capability >= 90 ? 227 * 1024 : 163 * 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      return capability >= 90 ? 228 * 1024 : 164 * 1024;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
      return 1024;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
      return 64 * 1024;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
      return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
      return 65536;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
      return 1'000'000;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
      return 128;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
      return 4 << 20;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      return settings().sms;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
      return capability == 86 || capability == 87 || capability == 89 ? 1536 : 2048;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
      return 16;
    case CU_DEVICE_ATTRIBUTE_INTEGRATED:
      return settings().integrated ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
      return settings().integrated ? 1 : 2;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      return capability / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      return capability % 10;
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
    case CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
      return 1;
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
      return greatest_priority() < 0 ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR:
      return memops ? 1 : 0;
    default:
      return 0;  // what it has not: managed memory, cooperative launches, textures, memory pools
  }
}

}  // namespace

CUresult init(unsigned flags) {
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (!settings().wrong.empty()) {
    fprintf(stderr, "CUDA driver on the CPU: %s\n", settings().wrong.c_str());
    return CUDA_ERROR_INVALID_VALUE;
  }
  world().initialised = true;
  return CUDA_SUCCESS;
}

CUresult driver_get_version(int *out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = settings().driver_version;
  return CUDA_SUCCESS;
}

CUresult get_error_name(CUresult result, const char **out) { return words_of(result, out, true); }
CUresult get_error_string(CUresult result, const char **out) { return words_of(result, out, false); }

CUresult device_get(CUdevice *out, int ordinal) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (ordinal != 0) return CUDA_ERROR_INVALID_DEVICE;
  *out = 0;
  return CUDA_SUCCESS;
}

CUresult device_get_count(int *out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = 1;
  return CUDA_SUCCESS;
}

CUresult device_get_name(char *out, int length, CUdevice device) {
  if (out == nullptr || length <= 0) return CUDA_ERROR_INVALID_VALUE;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  snprintf(out, static_cast<size_t>(length), "CPU interpreter (no GPU)");
  return CUDA_SUCCESS;
}

CUresult device_get_attribute(int *out, CUdevice_attribute attribute, CUdevice device) {
  if (out == nullptr || attribute <= 0 || attribute >= CU_DEVICE_ATTRIBUTE_MAX) return CUDA_ERROR_INVALID_VALUE;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  *out = value_of(attribute);
  return CUDA_SUCCESS;
}

CUresult device_total_mem(size_t *out, CUdevice device) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  *out = settings().memory_bytes;
  return CUDA_SUCCESS;
}

CUresult device_get_uuid(CUuuid *out, CUdevice device) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  memcpy(out->bytes, "cuda-on-the-cpu", 16);
  return CUDA_SUCCESS;
}

CUresult device_get_pci_bus_id(char *out, int length, CUdevice device) {
  if (out == nullptr || length <= 0) return CUDA_ERROR_INVALID_VALUE;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  snprintf(out, static_cast<size_t>(length), "0000:00:00.0");
  return CUDA_SUCCESS;
}

}  // namespace calls
}  // namespace cuda_on_cpu
