// A detector that stays in its own process, on cuBLAS: where the calls of calypte_client.h go.
//
//   g++ -std=c++17 -I ffi/native/include examples/external/cublas_detector.cc -o cublas_detector
//       -lcublas -lcudart build/libcalypte_client.so      (in one line)
//   ./cublas_detector /run/calypte/detector.sock 30 600
//
// A chain of matrix products stands in for a model. Arguments: socket, requests a second, requests. Without an agent it
// runs the same.
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "calypte_client.h"

namespace {

constexpr int kSide = 1024;
constexpr int kProducts = 24;

uint64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

void wait_until(uint64_t time_ns) {
  const timespec time{static_cast<time_t>(time_ns / 1'000'000'000), static_cast<long>(time_ns % 1'000'000'000)};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr);
}

// Two buffers in turn. False: cuBLAS refused, which background must never cause.
bool infer(cublasHandle_t blas, const float *weights, float *from, float *to) {
  const float one = 1.0f / kSide, zero = 0;
  for (int i = 0; i < kProducts; ++i) {
    if (cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, kSide, kSide, kSide, &one, weights, kSide, from, kSide, &zero, to,
                    kSide) != CUBLAS_STATUS_SUCCESS)
      return false;
    std::swap(from, to);
  }
  return true;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 4 || atof(argv[2]) <= 0) {
    fprintf(stderr, "usage: %s SOCKET REQUESTS_PER_SECOND REQUESTS\n", argv[0]);
    return 2;
  }
  constexpr size_t kBytes = sizeof(float) * kSide * kSide;
  cudaStream_t stream = nullptr;
  cublasHandle_t blas = nullptr;
  float *weights = nullptr, *first = nullptr, *second = nullptr;
  const bool made = cudaStreamCreate(&stream) == cudaSuccess && cublasCreate(&blas) == CUBLAS_STATUS_SUCCESS &&
                    cublasSetStream(blas, stream) == CUBLAS_STATUS_SUCCESS &&
                    cudaMalloc(reinterpret_cast<void **>(&weights), kBytes) == cudaSuccess &&
                    cudaMalloc(reinterpret_cast<void **>(&first), kBytes) == cudaSuccess &&
                    cudaMalloc(reinterpret_cast<void **>(&second), kBytes) == cudaSuccess &&
                    cudaMemset(weights, 0, kBytes) == cudaSuccess && cudaMemset(first, 0, kBytes) == cudaSuccess;
  if (!made) {
    fprintf(stderr, "no GPU, or no room on it\n");
    return 1;
  }
  calypte_client *client = calypte_client_open(argv[1]);
  const auto period_ns = static_cast<uint64_t>(1e9 / atof(argv[2]));
  const int requests = atoi(argv[3]);
  uint64_t due_ns = now_ns() + period_ns, longest_ns = 0;
  int failed = 0;
  for (int i = 0; i < requests; ++i, due_ns += period_ns) {
    calypte_expect(client, due_ns);
    wait_until(due_ns);
    calypte_begin(client, due_ns);
    if (!infer(blas, weights, first, second)) failed += 1;
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
