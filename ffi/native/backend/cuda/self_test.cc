// Does the gate's transport work here, and may a stream be parked on it? Tried at start, never assumed.
#include <time.h>

#include <atomic>
#include <cstdio>

#include "backend/cuda/gpu.h"
#include "engine/clock.h"
#include "engine/error.h"

namespace calypte::cuda {
namespace {

constexpr uint64_t kPassTimeoutNs = 200'000'000;

uint32_t load(const Mapped &word) {
  return std::atomic_ref(*reinterpret_cast<uint32_t *>(word.host)).load(std::memory_order_acquire);
}
void store(const Mapped &word, uint32_t value) {
  std::atomic_ref(*reinterpret_cast<uint32_t *>(word.host)).store(value, std::memory_order_release);
}

bool wait_for(const Mapped &word, uint32_t value, uint64_t timeout_ns) {
  const uint64_t end_ns = monotonic_ns() + timeout_ns;
  while (load(word) != value) {
    if (monotonic_ns() > end_ns) return false;
  }
  return true;
}

// A graph as critical work has it: close the gate, open it, report. No kernel is needed to see whether it passes.
struct ProbeGraph {
  const Driver &cu;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;

  explicit ProbeGraph(const Driver &driver) : cu(driver) {}
  ~ProbeGraph() {
    if (exec != nullptr) cu.GraphExecDestroy(exec);
    if (graph != nullptr) cu.GraphDestroy(graph);
  }

  CUresult build(const Gpu &gpu, CUstream stream, CUdeviceptr target, CUdeviceptr done) {
    CUresult result = cu.StreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    if (result != CUDA_SUCCESS) return result;
    const CUresult writes[] = {
        cu.StreamWriteValue32(stream, target, 1, CU_STREAM_WRITE_VALUE_DEFAULT),
        cu.MemcpyHtoDAsync(gpu.gate_word(kGateWords - 1), gpu.constants.host, sizeof(uint32_t), stream),
        cu.StreamWriteValue32(stream, target, 0, CU_STREAM_WRITE_VALUE_DEFAULT),
        cu.StreamWriteValue32(stream, done, 7, CU_STREAM_WRITE_VALUE_DEFAULT),
    };
    result = cu.StreamEndCapture(stream, &graph);
    for (const CUresult write : writes) {
      if (write != CUDA_SUCCESS) return write;
    }
    return result == CUDA_SUCCESS ? cu.GraphInstantiate(&exec, graph, 0) : result;
  }
};

std::string name_of(const Driver &cu, CUresult result) {
  const char *name = nullptr;
  cu.GetErrorName(result, &name);
  return name == nullptr ? "unknown error" : name;
}

}  // namespace

int32_t self_test(Gpu &gpu, uint32_t parked_streams) {
  const Driver &cu = *gpu.cu;
  if (!gpu.has(CALYPTE_FEATURE_STREAM_MEMOPS)) {
    CALYPTE_CU(gpu.write_gate(gpu.control, kHoldWord, 1), "self-test of the copy transport");
    CALYPTE_CU(gpu.write_gate(gpu.control, kHoldWord, 0), "self-test of the copy transport");
    CALYPTE_CU(cu.StreamSynchronize(gpu.control), "self-test of the copy transport");
    return 0;
  }
  Mapped done, park, target;
  for (Mapped *word : {&done, &park, &target}) {
    if (const int32_t code = gpu.map_host(4096, *word, "self-test"); code < 0) return code;
  }
  CUresult result = cu.StreamWriteValue32(gpu.control, done.device, 1, CU_STREAM_WRITE_VALUE_DEFAULT);
  if (result != CUDA_SUCCESS || !wait_for(done, 1, kPassTimeoutNs)) {
    const std::string reason =
        "self-test: a stream memory operation " +
        (result == CUDA_SUCCESS ? std::string("had no effect within 200 ms") : "failed with " + name_of(cu, result));
    for (const uint32_t feature :
         {CALYPTE_FEATURE_STREAM_MEMOPS, CALYPTE_FEATURE_GRAPH_MEMOPS, CALYPTE_FEATURE_PARKED_RESUME})
      gpu.lower(feature, reason);
    return 0;
  }
  CUstream critical = nullptr;
  if (const int32_t code = gpu.make_stream(gpu.highest_priority, critical); code < 0) return code;
  ProbeGraph probe(cu);
  if (gpu.has(CALYPTE_FEATURE_GRAPH_MEMOPS)) {
    result = probe.build(gpu, critical, target.device, done.device);
    if (result == CUDA_SUCCESS) result = cu.GraphLaunch(probe.exec, critical);
    if (result != CUDA_SUCCESS || !wait_for(done, 7, kPassTimeoutNs)) {
      gpu.lower(CALYPTE_FEATURE_GRAPH_MEMOPS,
                "self-test: memory operations inside a graph: " +
                    (result == CUDA_SUCCESS ? std::string("no effect within 200 ms") : name_of(cu, result)));
      gpu.lower(CALYPTE_FEATURE_PARKED_RESUME, "the critical graph cannot open the gate itself");
    }
  }
  if (!gpu.has(CALYPTE_FEATURE_PARKED_RESUME)) return 0;

  // Park as many streams as will be parked, on a word in host memory, so that a deadlock can be ended from here.
  std::vector<CUstream> parked{gpu.background};
  while (parked.size() < parked_streams) {
    CUstream stream = nullptr;
    if (const int32_t code = gpu.make_stream(gpu.lowest_priority, stream); code < 0) return code;
    parked.push_back(stream);
  }
  store(park, 1);
  store(done, 0);
  for (CUstream stream : parked) {
    CALYPTE_CU(cu.StreamWaitValue32(stream, park.device, 0, CU_STREAM_WAIT_VALUE_EQ), "self-test: park a stream");
    CALYPTE_CU(cu.MemcpyHtoDAsync(gpu.gate_word(kGateWords - 1), gpu.constants.host, sizeof(uint32_t), stream),
               "self-test: park a stream");
  }
  const timespec settle{0, 2'000'000};
  nanosleep(&settle, nullptr);
  result = cu.GraphLaunch(probe.exec, critical);
  const bool passed = result == CUDA_SUCCESS && wait_for(done, 7, kPassTimeoutNs);
  store(park, 0);
  CALYPTE_CU(cu.CtxSynchronize(), "self-test: release the parked stream");
  if (!passed) {
    gpu.lower(CALYPTE_FEATURE_PARKED_RESUME,
              "self-test: a critical graph did not pass a parked stream in 200 ms, so the host resumes background; "
              "CUDA_DEVICE_MAX_CONNECTIONS=32 gives more queues");
  } else {
    char text[120];
    snprintf(text, sizeof text, "self-test: a critical graph passed %zu parked stream(s)", parked.size());
    gpu.features[CALYPTE_FEATURE_PARKED_RESUME].reason = text;
  }
  return 0;
}

}  // namespace calypte::cuda
