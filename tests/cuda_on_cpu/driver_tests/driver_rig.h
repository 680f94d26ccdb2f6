// What do the driver's own tests share? The library under test, kernels, and a context for each case.
#pragma once

#include <cuda.h>
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <cstring>

namespace cuda_on_cpu::test {

inline void *library() {
  static void *opened = dlopen(CUDA_ON_CPU_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  return opened;
}

template <class Function>
Function find(const char *symbol) {
  return reinterpret_cast<Function>(dlsym(library(), symbol));
}
#define TEXT(symbol) #symbol
#define TEXT_EXPANDED(symbol) TEXT(symbol)
// As cuda.h maps the names.
#define CU(call, ...) find<decltype(&::call)>(TEXT_EXPANDED(call))(__VA_ARGS__)
#define OK(call, ...) REQUIRE(CU(call, __VA_ARGS__) == CUDA_SUCCESS)

inline constexpr char kPtx[] = R"(
.version 7.0
.target sm_80
.address_size 64
.visible .entry put(.param .u64 to, .param .u32 value)
{
  .reg .b64 %rd<2>;
  .reg .b32 %r<4>;
  .reg .b64 %a<4>;
  ld.param.u64 %rd0, [to];
  ld.param.u32 %r0, [value];
  cvta.to.global.u64 %rd1, %rd0;
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %a0, %r1, 4;
  add.u64 %a1, %rd1, %a0;
  add.u32 %r2, %r0, %r1;
  st.global.u32 [%a1], %r2;
  ret;
}
.visible .entry await(.param .u64 word)
{
  .reg .b64 %rd<2>;
  .reg .b32 %r<2>;
  .reg .pred %p<2>;
  ld.param.u64 %rd0, [word];
  cvta.to.global.u64 %rd1, %rd0;
again:
  ld.volatile.global.u32 %r0, [%rd1];
  setp.eq.u32 %p0, %r0, 0;
  @%p0 bra again;
  ret;
}
.visible .entry trap_here()
{
  trap;
}
)";

// A context of its own, current in this thread; one block of pinned memory, one of the device's.
struct Rig {
  CUcontext context = nullptr;
  CUmodule module = nullptr;
  CUfunction put = nullptr, await = nullptr, trap = nullptr;
  CUstream stream = nullptr;
  CUdeviceptr device = 0, mapped = 0;
  uint32_t *host = nullptr;

  Rig() {
    OK(cuInit, 0);
    REQUIRE(find<CUresult (*)(CUcontext *, unsigned, CUdevice)>("cuCtxCreate_v2")(&context, 0, 0) == CUDA_SUCCESS);
    OK(cuModuleLoadData, &module, kPtx);
    OK(cuModuleGetFunction, &put, module, "put");
    OK(cuModuleGetFunction, &await, module, "await");
    OK(cuModuleGetFunction, &trap, module, "trap_here");
    OK(cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING);
    OK(cuMemAlloc, &device, 4096);
    void *memory = nullptr;
    OK(cuMemHostAlloc, &memory, 4096, CU_MEMHOSTALLOC_DEVICEMAP);
    host = static_cast<uint32_t *>(memory);
    memset(host, 0, 4096);
    OK(cuMemHostGetDevicePointer, &mapped, memory, 0);
  }
  ~Rig() {
    store(1);  // lets go of what waits
    CU(cuCtxDestroy, context);
  }
  void store(uint32_t value) { std::atomic_ref(host[0]).store(value); }
  CUresult launch_put(CUdeviceptr to, uint32_t value, CUstream where, unsigned threads = 1) {
    void *params[] = {&to, &value};
    return CU(cuLaunchKernel, put, 1, 1, 1, threads, 1, 1, 0, where, params, nullptr);
  }
  // The stream stands until `store` writes something else than 0.
  void park(CUstream where) { OK(cuStreamWaitValue32, where, mapped, 1, CU_STREAM_WAIT_VALUE_GEQ); }
  CUresult begin(CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) {
    return CU(cuStreamBeginCapture, stream, mode);
  }
  CUresult end(CUgraph *graph) { return CU(cuStreamEndCapture, stream, graph); }
  uint32_t read(CUdeviceptr from) {
    uint32_t word = 0;
    OK(cuMemcpyDtoH, &word, from, 4);
    return word;
  }
};

}  // namespace cuda_on_cpu::test
