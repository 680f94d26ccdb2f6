// CUDA's words for g++: runs a kernel's threads one block after the other, those of a block as fibers that meet at
// barriers. With it tests run kernels.cu against reference.ts where there is no GPU. Kernels whose blocks wait for each
// other cannot run so.
#pragma once

#include <math.h>
#include <stdlib.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <vector>

#define __global__
#define __device__
#define __constant__
#define __shared__ static
#define __restrict__
using std::max;
using std::min;

struct uint4 {
  unsigned x, y, z, w;
};
struct float4 {
  float x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct Place {
  unsigned x, y, z;
};
inline Place blockIdx, threadIdx, blockDim, gridDim;
inline unsigned atomicAdd(unsigned *at, unsigned value) {
  const unsigned was = *at;
  *at += value;
  return was;
}
inline void __threadfence() {}

namespace on_cpu {

constexpr size_t kStack = 64 * 1024;
inline ucontext_t scheduler;
inline std::vector<ucontext_t> fibers;
inline std::vector<char> stacks;
inline std::vector<bool> ended;
inline unsigned current = 0;
inline std::function<void()> body;

inline void entry() {
  body();
  ended[current] = true;
}

// Every thread of every block; with `meets` as fibers.
inline void run(unsigned blocks, unsigned threads, bool meets, std::function<void()> kernel) {
  gridDim = {blocks, 1, 1};
  blockDim = {threads, 1, 1};
  body = std::move(kernel);
  fibers.resize(threads);
  stacks.resize(kStack * threads);
  for (unsigned block = 0; block < blocks; ++block) {
    blockIdx = {block, 0, 0};
    if (!meets) {
      for (unsigned thread = 0; thread < threads; ++thread) {
        threadIdx = {thread, 0, 0};
        body();
      }
      continue;
    }
    ended.assign(threads, false);
    for (unsigned thread = 0; thread < threads; ++thread) {
      getcontext(&fibers[thread]);
      fibers[thread].uc_stack.ss_sp = stacks.data() + kStack * thread;
      fibers[thread].uc_stack.ss_size = kStack;
      fibers[thread].uc_link = &scheduler;
      makecontext(&fibers[thread], entry, 0);
    }
    for (bool going = true; going;) {
      going = false;
      for (unsigned thread = 0; thread < threads; ++thread) {
        if (ended[thread]) continue;
        current = thread;
        threadIdx = {thread, 0, 0};
        swapcontext(&scheduler, &fibers[thread]);
        going = going || !ended[thread];
      }
    }
  }
}

}  // namespace on_cpu

inline void __syncthreads() {
  const unsigned mine = on_cpu::current;
  swapcontext(&on_cpu::fibers[mine], &on_cpu::scheduler);
  on_cpu::current = mine;
  threadIdx = {mine, 0, 0};
}
