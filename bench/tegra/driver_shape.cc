// A stand-in for libcuda.so.1 that takes away what a Tegra lacks, and passes on the rest.
//
// The library finds the driver's entry points at run time, one by one, and asks the device for its attributes. So a
// driver that lacks some, and answers differently, is all it takes to see how everything behaves there: engine, workers
// and verification alike, with no switch in what is shipped. Put the folder of this file, built as libcuda.so.1, first
// into LD_LIBRARY_PATH, and set
//
//   CALYPTE_SHAPE_DRIVER  path of the real driver
//   CALYPTE_SHAPE         what is taken away, separated by commas:
//     no-ipc              no CUDA IPC
//     no-memops           no stream memory operations
//     sms=N               all streams of each process are confined to N SMs (one green context), and the device says
//                         that it has N. Not what is put into the default stream, which only a plugin could do
//     integrated          the device says that CPU and GPU share memory; what is mapped then still goes over the bus
//     copies=BYTES        each copy engine is kept busy, in both directions, by copies of that size, one behind the
//                         other: more than any neighbour could do to the one engine of a Tegra
//
// It is for measurements only. A symbol is resolved each time that it is looked up, by an indirect function, which may
// say that there is none.
#include <cuda.h>
#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "backend/cuda/driver.h"

namespace {

struct Shape {
  bool no_ipc = false;
  bool no_memops = false;
  bool integrated = false;
  unsigned int sms = 0;    // 0: all
  size_t copy_bytes = 0;   // 0: none
  void *driver = nullptr;  // null: `wrong` says why
  std::string wrong;
};

Shape read_shape() {
  Shape shape;
  const char *path = getenv("CALYPTE_SHAPE_DRIVER");
  if (path == nullptr) {
    shape.wrong = "CALYPTE_SHAPE_DRIVER must name the real driver";
    return shape;
  }
  const char *text = getenv("CALYPTE_SHAPE");
  std::string rest = text == nullptr ? "" : text;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string word = rest.substr(0, comma);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
    if (word == "no-ipc") {
      shape.no_ipc = true;
    } else if (word == "no-memops") {
      shape.no_memops = true;
    } else if (word == "integrated") {
      shape.integrated = true;
    } else if (word.starts_with("sms=") && atoi(word.c_str() + 4) > 0) {
      shape.sms = static_cast<unsigned int>(atoi(word.c_str() + 4));
    } else if (word.starts_with("copies=") && atoi(word.c_str() + 7) > 0) {
      shape.copy_bytes = static_cast<size_t>(atoi(word.c_str() + 7));
    } else {
      shape.wrong = "CALYPTE_SHAPE: '" + word + "' is no word of it";
      return shape;
    }
  }
  shape.driver = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (shape.driver == nullptr) shape.wrong = dlerror();
  return shape;
}

const Shape &shape() {
  static const Shape read = [] {
    Shape result = read_shape();
    if (!result.wrong.empty()) fprintf(stderr, "driver_shape: %s\n", result.wrong.c_str());
    return result;
  }();
  return read;
}

// The real one, whatever is taken away.
template <class Function>
Function real(const char *symbol) {
  return reinterpret_cast<Function>(dlsym(shape().driver, symbol));
}
#define REAL(symbol) real<decltype(&::symbol)>(#symbol)

// ---- What is answered differently

// The part of the SMs that all streams of this process are confined to; made once, never undone: the process's end does
// it. Its context is nobody's current one: that it may be in one thread at a time, and an engine has several.
struct Part {
  CUgreenCtx context = nullptr;
  CUdevResource resource{};
  CUresult made = CUDA_ERROR_NOT_SUPPORTED;
};

Part make_part(CUdevice device) {
  Part part;
  CUdevResource all{}, rest{};
  unsigned int groups = 1;
  CUdevResourceDesc description = nullptr;
  part.made = REAL(cuDeviceGetDevResource)(device, &all, CU_DEV_RESOURCE_TYPE_SM);
  if (part.made == CUDA_SUCCESS)
    part.made = REAL(cuDevSmResourceSplitByCount)(&part.resource, &groups, &all, &rest, 0, shape().sms);
  if (part.made == CUDA_SUCCESS && part.resource.sm.smCount != shape().sms) {
    // Parts have a least size and a step, which differ from GPU to GPU: what is told must be what is there.
    fprintf(stderr, "driver_shape: asked for %u SMs this device gives %u: say sms=%u\n", shape().sms,
            part.resource.sm.smCount, part.resource.sm.smCount);
    part.made = CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
  }
  if (part.made == CUDA_SUCCESS) part.made = REAL(cuDevResourceGenerateDesc)(&description, &part.resource, 1);
  if (part.made == CUDA_SUCCESS)
    part.made = REAL(cuGreenCtxCreate)(&part.context, description, device, CU_GREEN_CTX_DEFAULT_STREAM);
  // As it may be split further.
  if (part.made == CUDA_SUCCESS)
    part.made = REAL(cuGreenCtxGetDevResource)(part.context, &part.resource, CU_DEV_RESOURCE_TYPE_SM);
  if (part.made != CUDA_SUCCESS)
    fprintf(stderr, "driver_shape: cannot confine the work to %u SMs: error %d\n", shape().sms, part.made);
  return part;
}

const Part &part_of(CUdevice device) {
  static const Part part = make_part(device);
  return part;
}

// One thread for each copy engine and direction that keeps it busy. They end with the process.
void copy_for_ever(CUcontext context, bool to_device) {
  CUstream stream = nullptr;
  void *host = nullptr;
  CUdeviceptr memory = 0;
  const size_t bytes = shape().copy_bytes;
  if (REAL(cuCtxSetCurrent)(context) != CUDA_SUCCESS ||
      REAL(cuStreamCreateWithPriority)(&stream, CU_STREAM_NON_BLOCKING, 0) != CUDA_SUCCESS ||
      real<decltype(&::cuMemHostAlloc)>("cuMemHostAlloc")(&host, bytes, 0) != CUDA_SUCCESS ||
      real<decltype(&::cuMemAlloc)>("cuMemAlloc_v2")(&memory, bytes) != CUDA_SUCCESS) {
    fprintf(stderr, "driver_shape: cannot copy\n");
    return;
  }
  const auto in = real<decltype(&::cuMemcpyHtoDAsync)>("cuMemcpyHtoDAsync_v2");
  const auto out = real<decltype(&::cuMemcpyDtoHAsync)>("cuMemcpyDtoHAsync_v2");
  const auto wait = REAL(cuStreamSynchronize);
  CUresult result = CUDA_SUCCESS;
  // A few are always queued, so that the engine never stands still.
  while (result == CUDA_SUCCESS) {
    for (int i = 0; i < 4 && result == CUDA_SUCCESS; ++i)
      result = to_device ? in(memory, host, bytes, stream) : out(host, memory, bytes, stream);
    if (result == CUDA_SUCCESS) result = wait(stream);
  }
}

void start_copies(CUcontext context, CUdevice device) {
  static std::atomic<bool> started{false};
  if (shape().copy_bytes == 0 || started.exchange(true)) return;
  int engines = 1;
  REAL(cuDeviceGetAttribute)(&engines, CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, device);
  for (int i = 0; i < engines; ++i) {
    std::thread(copy_for_ever, context, true).detach();
    std::thread(copy_for_ever, context, false).detach();
  }
}

CUresult retain(CUcontext *out, CUdevice device) {
  const CUresult result = REAL(cuDevicePrimaryCtxRetain)(out, device);
  if (result != CUDA_SUCCESS) return result;
  if (shape().sms > 0) {
    const Part &part = part_of(device);
    if (part.made != CUDA_SUCCESS) {
      real<decltype(&::cuDevicePrimaryCtxRelease)>("cuDevicePrimaryCtxRelease_v2")(device);
      *out = nullptr;
      return part.made;
    }
  }
  start_copies(*out, device);
  return CUDA_SUCCESS;
}

// The part and the copies need the context as long as the process lives.
CUresult release(CUdevice device) {
  return shape().sms > 0 || shape().copy_bytes > 0
             ? CUDA_SUCCESS
             : real<decltype(&::cuDevicePrimaryCtxRelease)>("cuDevicePrimaryCtxRelease_v2")(device);
}

// A part's streams never wait for the default stream, whatever is asked for.
CUresult make_stream(CUstream *out, unsigned int flags, int priority) {
  if (shape().sms == 0) return REAL(cuStreamCreateWithPriority)(out, flags, priority);
  CUdevice device = 0;
  if (const CUresult result = REAL(cuCtxGetDevice)(&device); result != CUDA_SUCCESS) return result;
  const Part &part = part_of(device);
  return part.made == CUDA_SUCCESS ? REAL(cuGreenCtxStreamCreate)(out, part.context, CU_STREAM_NON_BLOCKING, priority)
                                   : part.made;
}

CUresult attribute(int *out, CUdevice_attribute which, CUdevice device) {
  const CUresult result = REAL(cuDeviceGetAttribute)(out, which, device);
  if (result != CUDA_SUCCESS) return result;
  if (which == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT && shape().sms > 0) *out = static_cast<int>(shape().sms);
  if (which == CU_DEVICE_ATTRIBUTE_INTEGRATED && shape().integrated) *out = 1;
  if (which == CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT && shape().copy_bytes > 0) *out = 1;
  return result;
}

CUresult dev_resource(CUdevice device, CUdevResource *out, CUdevResourceType type) {
  if (shape().sms == 0 || type != CU_DEV_RESOURCE_TYPE_SM) return REAL(cuDeviceGetDevResource)(device, out, type);
  const Part &part = part_of(device);
  if (part.made == CUDA_SUCCESS) *out = part.resource;
  return part.made;
}

bool is(const char *symbol, const char *name) { return strcmp(symbol, name) == 0; }

void *resolve(const char *symbol) {
  if (shape().driver == nullptr) return nullptr;
  if (shape().no_ipc && strncmp(symbol, "cuIpc", 5) == 0) return nullptr;
  if (shape().no_memops &&
      (strncmp(symbol, "cuStreamWriteValue", 18) == 0 || strncmp(symbol, "cuStreamWaitValue", 17) == 0 ||
       strncmp(symbol, "cuStreamBatchMemOp", 18) == 0))
    return nullptr;
  if (is(symbol, "cuDevicePrimaryCtxRetain")) return reinterpret_cast<void *>(retain);
  if (is(symbol, "cuDevicePrimaryCtxRelease_v2")) return reinterpret_cast<void *>(release);
  if (is(symbol, "cuStreamCreateWithPriority")) return reinterpret_cast<void *>(make_stream);
  if (is(symbol, "cuDeviceGetAttribute")) return reinterpret_cast<void *>(attribute);
  if (is(symbol, "cuDeviceGetDevResource")) return reinterpret_cast<void *>(dev_resource);
  return dlsym(shape().driver, symbol);
}

}  // namespace

// The same names as in cuda.h, under others for the compiler.
using Entry = void (*)();
#define SHAPED(member, symbol, required)                                                            \
  extern "C" Entry calypte_resolve_##member() { return reinterpret_cast<Entry>(resolve(#symbol)); } \
  extern "C" void calypte_shaped_##member() __asm__(#symbol)                                        \
      __attribute__((ifunc("calypte_resolve_" #member), visibility("default")));
CALYPTE_CUDA_CALLS(SHAPED)
