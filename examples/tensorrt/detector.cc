// A TensorRT engine as a critical task, in the process in which it already flies: where the calls of calypte_client.h
// go.
//
//   g++ -std=c++17 -I ffi/native/include examples/tensorrt/detector.cc -o tensorrt_detector
//       -lnvinfer -lcudart build/libcalypte_client.so      (in one line)
//   ./tensorrt_detector detector.engine /run/calypte/detector.sock 30 600
//
// Arguments: a serialized engine with static shapes, socket, requests a second, requests. Inputs are zeros. Not run on
// TensorRT, not run on Orin: it has been compiled, and run, against a double of the calls that it makes.
#include <NvInfer.h>
#include <cuda_runtime_api.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include "calypte_client.h"

namespace {

class Logger : public nvinfer1::ILogger {
  void log(Severity severity, const char *message) noexcept override {
    if (severity <= Severity::kWARNING) fprintf(stderr, "%s\n", message);
  }
};

uint64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

void wait_until(uint64_t time_ns) {
  const timespec time{static_cast<time_t>(time_ns / 1'000'000'000), static_cast<long>(time_ns % 1'000'000'000)};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr);
}

// Room for every tensor of the engine; four bytes for each element are enough for all types but the 64-bit ones.
bool bind_tensors(const nvinfer1::ICudaEngine &engine, nvinfer1::IExecutionContext &context) {
  for (int i = 0; i < engine.getNbIOTensors(); ++i) {
    const char *name = engine.getIOTensorName(i);
    const nvinfer1::Dims shape = engine.getTensorShape(name);
    size_t bytes = 8;
    for (int d = 0; d < shape.nbDims; ++d) {
      if (shape.d[d] < 0) {
        fprintf(stderr, "tensor %s has no fixed shape\n", name);
        return false;
      }
      bytes *= static_cast<size_t>(shape.d[d]);
    }
    void *memory = nullptr;
    if (cudaMalloc(&memory, bytes) != cudaSuccess || cudaMemset(memory, 0, bytes) != cudaSuccess) return false;
    if (!context.setTensorAddress(name, memory)) return false;
  }
  return true;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 5 || atof(argv[3]) <= 0) {
    fprintf(stderr, "usage: %s ENGINE SOCKET REQUESTS_PER_SECOND REQUESTS\n", argv[0]);
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const std::vector<char> plan((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  Logger logger;
  const std::unique_ptr<nvinfer1::IRuntime> runtime(nvinfer1::createInferRuntime(logger));
  const std::unique_ptr<nvinfer1::ICudaEngine> engine(
      runtime == nullptr ? nullptr : runtime->deserializeCudaEngine(plan.data(), plan.size()));
  const std::unique_ptr<nvinfer1::IExecutionContext> context(engine == nullptr ? nullptr
                                                                               : engine->createExecutionContext());
  cudaStream_t stream = nullptr;
  if (context == nullptr || cudaStreamCreate(&stream) != cudaSuccess || !bind_tensors(*engine, *context)) {
    fprintf(stderr, "%s is no engine that runs here\n", argv[1]);
    return 1;
  }

  calypte_client *client = calypte_client_open(argv[2]);
  const auto period_ns = static_cast<uint64_t>(1e9 / atof(argv[3]));
  const int requests = atoi(argv[4]);
  uint64_t due_ns = now_ns() + period_ns, longest_ns = 0;
  int failed = 0;
  for (int i = 0; i < requests; ++i, due_ns += period_ns) {
    calypte_expect(client, due_ns);  // such as the end of the exposure
    wait_until(due_ns);
    calypte_begin(client, due_ns);
    if (!context->enqueueV3(stream)) failed += 1;
    calypte_end(client, stream);
    if (cudaStreamSynchronize(stream) != cudaSuccess) failed += 1;
    longest_ns = std::max(longest_ns, now_ns() - due_ns);
  }
  printf("%d requests, %d failed, longest %.2f ms, agent: %s\n", requests, failed,
         static_cast<double>(longest_ns) / 1e6,
         calypte_client_state(client) == CALYPTE_CLIENT_SERVED ? "served" : "alone");
  calypte_client_close(client);
  return failed == 0 ? 0 : 1;
}
