// Does the CUDA driver on the CPU behave as CUDA's documentation says, above all where that forbids something? Each
// case has a context of its own, and all work in it is small.
#include "driver_rig.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <thread>

using cuda_on_cpu::test::find;
using cuda_on_cpu::test::kPtx;
using cuda_on_cpu::test::Rig;

TEST_CASE("it says everywhere that it is no GPU") {
  Rig rig;
  char name[64] = "";
  OK(cuDeviceGetName, name, 64, 0);
  CHECK(std::string(name) == "CPU interpreter (no GPU)");
}

TEST_CASE("a stream does its work in order, and tells when it is done") {
  Rig rig;
  rig.park(rig.stream);
  OK(cuMemsetD8Async, rig.device, 0, 4096, rig.stream);
  CHECK(rig.launch_put(rig.device, 7, rig.stream, 32) == CUDA_SUCCESS);
  OK(cuMemcpyDtoHAsync, rig.host + 8, rig.device, 128, rig.stream);
  CHECK(CU(cuStreamQuery, rig.stream) == CUDA_ERROR_NOT_READY);
  CHECK(rig.host[8] == 0);
  rig.store(1);
  OK(cuStreamSynchronize, rig.stream);
  CHECK(rig.host[8] == 7);
  CHECK(rig.host[39] == 38);
}

TEST_CASE("fresh memory holds nothing that one could rely on") {
  Rig rig;
  CHECK(rig.read(rig.device) != 0);
}

TEST_CASE("events mark, order streams and tell times") {
  Rig rig;
  CUstream other = nullptr;
  CUevent first = nullptr, second = nullptr, untimed = nullptr;
  OK(cuStreamCreate, &other, CU_STREAM_NON_BLOCKING);
  OK(cuEventCreate, &first, CU_EVENT_DEFAULT);
  OK(cuEventCreate, &second, CU_EVENT_DEFAULT);
  OK(cuEventCreate, &untimed, CU_EVENT_DISABLE_TIMING);
  float ms = -1;
  CHECK(CU(cuEventElapsedTime, &ms, first, second) == CUDA_ERROR_INVALID_HANDLE);  // never recorded
  rig.park(rig.stream);
  OK(cuEventRecord, first, rig.stream);
  OK(cuStreamWaitEvent, other, first, 0);
  OK(cuEventRecord, second, other);
  CHECK(CU(cuEventQuery, second) == CUDA_ERROR_NOT_READY);
  CHECK(CU(cuEventElapsedTime, &ms, first, second) == CUDA_ERROR_NOT_READY);
  rig.store(1);
  OK(cuEventSynchronize, second);
  OK(cuEventElapsedTime, &ms, first, second);
  CHECK(ms >= 0);
  OK(cuEventRecord, untimed, other);
  CHECK(CU(cuEventElapsedTime, &ms, first, untimed) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("the legacy stream waits for blocking streams, and they for it; others pass") {
  Rig rig;
  CUstream blocking = nullptr;
  OK(cuStreamCreate, &blocking, CU_STREAM_DEFAULT);
  rig.park(blocking);
  OK(cuMemsetD8Async, rig.device, 1, 4, nullptr);
  OK(cuMemsetD8Async, rig.device + 64, 1, 4, rig.stream);
  OK(cuStreamSynchronize, rig.stream);
  CHECK(CU(cuStreamQuery, nullptr) == CUDA_ERROR_NOT_READY);
  rig.store(1);
  OK(cuStreamSynchronize, nullptr);
  CHECK(CU(cuStreamQuery, blocking) == CUDA_SUCCESS);
}

TEST_CASE("without a context, or with another one current, nothing works") {
  Rig rig;
  CUcontext other = nullptr;
  REQUIRE(find<CUresult (*)(CUcontext *, unsigned, CUdevice)>("cuCtxCreate_v2")(&other, 0, 0) == CUDA_SUCCESS);
  CHECK(rig.launch_put(rig.device, 1, rig.stream) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(CU(cuStreamQuery, rig.stream) == CUDA_ERROR_INVALID_CONTEXT);
  OK(cuCtxDestroy, other);
  OK(cuCtxSetCurrent, rig.context);
  CHECK(CU(cuStreamQuery, rig.stream) == CUDA_SUCCESS);
  CUresult elsewhere = CUDA_SUCCESS;
  std::thread([&] { elsewhere = CU(cuStreamQuery, rig.stream); }).join();
  CHECK(elsewhere == CUDA_ERROR_INVALID_CONTEXT);
}

TEST_CASE("what was destroyed is known as such, and what was never there too") {
  Rig rig;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  REQUIRE(rig.begin() == CUDA_SUCCESS);
  OK(cuMemsetD8Async, rig.device, 1, 4, rig.stream);
  REQUIRE(rig.end(&graph) == CUDA_SUCCESS);
  OK(cuGraphInstantiateWithFlags, &exec, graph, 0);
  OK(cuGraphDestroy, graph);
  CHECK(CU(cuGraphDestroy, graph) == CUDA_ERROR_INVALID_VALUE);
  OK(cuGraphLaunch, exec, rig.stream);
  OK(cuGraphExecDestroy, exec);
  CHECK(CU(cuGraphLaunch, exec, rig.stream) == CUDA_ERROR_INVALID_VALUE);
  CHECK(CU(cuMemFree, rig.device + 4) == CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFree, rig.device);
  CHECK(CU(cuMemFree, rig.device) == CUDA_ERROR_INVALID_VALUE);
  OK(cuStreamDestroy, rig.stream);
  CHECK(CU(cuStreamQuery, rig.stream) == CUDA_ERROR_INVALID_HANDLE);
  OK(cuModuleUnload, rig.module);
  CHECK(CU(cuModuleUnload, rig.module) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("memory ends, and comes back") {
  Rig rig;
  size_t free_bytes = 0, total_bytes = 0, again = 0;
  OK(cuMemGetInfo, &free_bytes, &total_bytes);
  CUdeviceptr block = 0;
  CHECK(CU(cuMemAlloc, &block, total_bytes) == CUDA_ERROR_OUT_OF_MEMORY);
  OK(cuMemAlloc, &block, total_bytes / 2);
  OK(cuMemFree, block);
  OK(cuMemGetInfo, &again, &total_bytes);
  CHECK(again == free_bytes);
}

TEST_CASE("a copy beyond a block's end is refused") {
  Rig rig;
  CHECK(CU(cuMemcpyHtoDAsync, rig.device + 4000, rig.host, 100, rig.stream) == CUDA_ERROR_INVALID_VALUE);
  CHECK(CU(cuMemsetD8Async, rig.device, 0, 4097, rig.stream) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a launch that no device could make is refused") {
  Rig rig;
  CUdeviceptr to = rig.device;
  uint32_t value = 0;
  void *params[] = {&to, &value};
  const auto launch = [&](unsigned grid, unsigned block, unsigned shared) {
    return CU(cuLaunchKernel, rig.put, grid, 1, 1, block, 1, 1, shared, rig.stream, params, nullptr);
  };
  CHECK(launch(0, 1, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(launch(1, 2048, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(launch(1, 32, 64 * 1024) == CUDA_ERROR_INVALID_VALUE);  // more than 48 KiB must be asked for
  OK(cuFuncSetAttribute, rig.put, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 64 * 1024);
  CHECK(launch(1, 32, 64 * 1024) == CUDA_SUCCESS);
}

// ---- Failure

TEST_CASE("a kernel's fault ends its context, and no other") {
  for (const bool trap : {true, false}) {
    Rig rig;
    Rig other;
    OK(cuCtxSetCurrent, rig.context);
    rig.park(rig.stream);
    if (trap) {
      OK(cuLaunchKernel, rig.trap, 1, 1, 1, 1, 1, 1, 0, rig.stream, nullptr, nullptr);
    } else {
      CHECK(rig.launch_put(rig.device + 4096, 1, rig.stream) == CUDA_SUCCESS);  // one word behind the end
    }
    OK(cuStreamWriteValue32, rig.stream, rig.mapped + 8, 5, 0);
    rig.store(1);
    const CUresult expected = trap ? CUDA_ERROR_LAUNCH_FAILED : CUDA_ERROR_ILLEGAL_ADDRESS;
    CHECK(CU(cuStreamSynchronize, rig.stream) == expected);
    CHECK(CU(cuStreamQuery, rig.stream) == expected);
    CUdeviceptr block = 0;
    CHECK(CU(cuMemAlloc, &block, 16) == expected);
    CHECK(rig.host[2] == 0);  // what came behind it is dropped
    OK(cuCtxSetCurrent, other.context);
    CHECK(other.launch_put(other.device, 1, other.stream) == CUDA_SUCCESS);
    OK(cuStreamSynchronize, other.stream);
    OK(cuCtxSetCurrent, rig.context);
  }
}

TEST_CASE("a kernel that waits for a word of the host's sees it, and others run meanwhile") {
  Rig rig;
  CUstream other = nullptr;
  OK(cuStreamCreate, &other, CU_STREAM_NON_BLOCKING);
  void *params[] = {&rig.mapped};
  OK(cuLaunchKernel, rig.await, 1, 1, 1, 1, 1, 1, 0, rig.stream, params, nullptr);
  CHECK(rig.launch_put(rig.device, 1, other) == CUDA_SUCCESS);
  OK(cuStreamSynchronize, other);
  CHECK(CU(cuStreamQuery, rig.stream) == CUDA_ERROR_NOT_READY);
  rig.store(1);
  OK(cuStreamSynchronize, rig.stream);
}

TEST_CASE("a context that is destroyed ends its kernels") {
  Rig rig;
  CUcontext context = nullptr;
  REQUIRE(find<CUresult (*)(CUcontext *, unsigned, CUdevice)>("cuCtxCreate_v2")(&context, 0, 0) == CUDA_SUCCESS);
  CUmodule module = nullptr;
  CUfunction await = nullptr;
  CUdeviceptr word = 0;
  OK(cuModuleLoadData, &module, kPtx);
  OK(cuModuleGetFunction, &await, module, "await");
  OK(cuMemAlloc, &word, 4);
  OK(cuMemsetD8, word, 0, 4);
  void *params[] = {&word};
  OK(cuLaunchKernel, await, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr);
  OK(cuCtxDestroy, context);
  OK(cuCtxSetCurrent, rig.context);
  CHECK(CU(cuMemFree, word) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a driver call inside a host function is refused") {
  Rig rig;
  CUresult seen = CUDA_SUCCESS;
  OK(
      cuLaunchHostFunc, rig.stream, [](void *out) { *static_cast<CUresult *>(out) = CU(cuStreamQuery, nullptr); },
      &seen);
  OK(cuStreamSynchronize, rig.stream);
  CHECK(seen == CUDA_ERROR_NOT_PERMITTED);
}

// ---- Modules

TEST_CASE("PTX that is too new, for another device, or none at all, is refused in words") {
  Rig rig;
  const auto load = [&](const std::string &ptx, std::string *said) {
    char log[256] = "before";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, reinterpret_cast<void *>(sizeof log)};
    CUmodule module = nullptr;
    const CUresult result = CU(cuModuleLoadDataEx, &module, ptx.c_str(), 2, options, values);
    *said = log;
    return result;
  };
  std::string said;
  CHECK(load(".version 99.0\n.target sm_50\n.address_size 64\n", &said) == CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
  CHECK(said.find("99.0") != std::string::npos);
  CHECK(load(".version 8.0\n.target sm_121\n.address_size 64\n", &said) == CUDA_ERROR_INVALID_PTX);
  CHECK(said.find("sm_121") != std::string::npos);
  CHECK(load("no PTX at all", &said) == CUDA_ERROR_INVALID_PTX);
  CHECK(!said.empty());
  CHECK(load(".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k() { nonsense; }\n", &said) ==
        CUDA_ERROR_INVALID_PTX);
  CHECK(!said.empty());
}

// ---- Between processes

TEST_CASE("another process maps memory, sees what is written, and keeps it when the first one is gone") {
  Rig rig;
  int pipe_to[2], pipe_from[2];
  REQUIRE(pipe(pipe_to) == 0);
  REQUIRE(pipe(pipe_from) == 0);
  CUipcMemHandle handle{};
  CUdeviceptr none = 0;
  OK(cuIpcGetMemHandle, &handle, rig.device);
  CHECK(CU(cuIpcGetMemHandle, &handle, rig.device + 4) == CUDA_ERROR_INVALID_VALUE);
  OK(cuIpcGetMemHandle, &handle, rig.device);
  CHECK(CU(cuIpcOpenMemHandle, &none, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) == CUDA_ERROR_INVALID_CONTEXT);
  // The program once more, as the exporter: a fork has no driver.
  char program[4096] = "";
  REQUIRE(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(pipe_to[0], 0);
    dup2(pipe_from[1], 1);
    setenv("CUDA_ON_CPU_EXPORTER", "1", 1);
    execl(program, program, "--test-case=the exporter of another test", "--minimal", nullptr);
    _exit(9);
  }
  CUipcMemHandle theirs{};
  REQUIRE(read(pipe_from[0], &theirs, sizeof theirs) == sizeof theirs);
  CUdeviceptr mapped = 0;
  OK(cuIpcOpenMemHandle, &mapped, theirs, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
  CHECK(rig.read(mapped) == 77);
  REQUIRE(rig.launch_put(mapped, 78, rig.stream) == CUDA_SUCCESS);
  OK(cuStreamSynchronize, rig.stream);
  REQUIRE(write(pipe_to[1], "x", 1) == 1);
  char answer = 0;
  REQUIRE(read(pipe_from[0], &answer, 1) == 1);
  CHECK(answer == 78);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(rig.read(mapped) == 78);
  OK(cuIpcCloseMemHandle, mapped);
  CHECK(CU(cuMemsetD8Async, mapped, 0, 4, rig.stream) == CUDA_ERROR_INVALID_VALUE);
  CHECK(CU(cuIpcOpenMemHandle, &mapped, theirs, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) == CUDA_ERROR_MAP_FAILED);
}

TEST_CASE("the exporter of another test" * doctest::skip(getenv("CUDA_ON_CPU_EXPORTER") == nullptr)) {
  Rig rig;
  OK(cuMemsetD8, rig.device, 0, 4096);
  const uint32_t word = 77;
  OK(cuMemcpyHtoD, rig.device, &word, 4);
  CUipcMemHandle handle{};
  OK(cuIpcGetMemHandle, &handle, rig.device);
  REQUIRE(write(1, &handle, sizeof handle) == sizeof handle);
  char go = 0;
  REQUIRE(read(0, &go, 1) == 1);
  const char answer = static_cast<char>(rig.read(rig.device));
  REQUIRE(write(1, &answer, 1) == 1);
  _exit(0);
}

TEST_CASE("SMs are split as the hardware would, and streams of a part work") {
  Rig rig;
  CUdevResource all{}, kept{}, rest{};
  unsigned groups = 1;
  OK(cuDeviceGetDevResource, 0, &all, CU_DEV_RESOURCE_TYPE_SM);
  OK(cuDevSmResourceSplitByCount, &kept, &groups, &all, &rest, 0, 1);
  CHECK(kept.sm.smCount == 4);
  CHECK(rest.sm.smCount == all.sm.smCount - 4);
  CUdevResourceDesc description = nullptr;
  OK(cuDevResourceGenerateDesc, &description, &kept, 1);
  CUgreenCtx green = nullptr;
  CUstream stream = nullptr;
  CHECK(CU(cuGreenCtxCreate, &green, description, 0, 0) == CUDA_ERROR_INVALID_VALUE);
  OK(cuGreenCtxCreate, &green, description, 0, CU_GREEN_CTX_DEFAULT_STREAM);
  CHECK(CU(cuGreenCtxStreamCreate, &stream, green, CU_STREAM_DEFAULT, 0) == CUDA_ERROR_INVALID_VALUE);
  OK(cuGreenCtxStreamCreate, &stream, green, CU_STREAM_NON_BLOCKING, 0);
  OK(cuGreenCtxDestroy, green);
  CHECK(CU(cuGreenCtxDestroy, green) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("a symbol is found by its name and version") {
  Rig rig;
  void *entry = nullptr;
  CUdriverProcAddressQueryResult found;
  OK(cuGetProcAddress, "cuMemAlloc", &entry, 12000, 0, &found);
  CHECK(entry == find<void *>("cuMemAlloc_v2"));
  CHECK(CU(cuGetProcAddress, "cuGreenCtxCreate", &entry, 12000, 0, &found) == CUDA_ERROR_NOT_FOUND);
  CHECK(found == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
}
