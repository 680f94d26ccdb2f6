// What do the CUDA kernels of a bundle compute, run on a CPU?
//
// Stands in for the CUDA headers, so that g++ compiles a kernels.cu unchanged. One thread of a block runs at a time, one
// block after the other. Where a kernel has barriers, each of its threads is a fiber that runs until the next one. No race
// is found for sure, but one between threads shows where the order of threads changes the result: see `Order`.
//
// It knows what the bundles use, no more; a kernel that needs something else does not compile.
#pragma once

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__ static const
// One block at a time, so that one copy is enough. What a block left in it is there for the next, as on a GPU.
#define __shared__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
typedef dim3 uint3;

static dim3 gridDim, blockDim, blockIdx, threadIdx;

struct uchar4 {
  unsigned char x, y, z, w;
};
struct float2 {
  float x, y;
};
struct float4 {
  float x, y, z, w;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using std::max;
using std::min;
static inline unsigned min(unsigned a, int b) { return std::min(a, static_cast<unsigned>(b)); }
static inline unsigned max(unsigned a, int b) { return std::max(a, static_cast<unsigned>(b)); }
static inline unsigned min(int a, unsigned b) { return std::min(static_cast<unsigned>(a), b); }
static inline unsigned max(int a, unsigned b) { return std::max(static_cast<unsigned>(a), b); }

template <typename T>
static inline T __ldg(const T *at) {
  return *at;
}

// The type that the value is not deduced from: atomicAdd(&an_unsigned, 1) is allowed.
template <typename T>
struct same {
  typedef T type;
};
#define ATOMIC(name, result)                                       \
  template <typename T>                                            \
  static inline T name(T *at, typename same<T>::type value) {      \
    const T old = *at;                                             \
    *at = static_cast<T>(result);                                  \
    return old;                                                    \
  }
ATOMIC(atomicAdd, old + value)
ATOMIC(atomicSub, old - value)
ATOMIC(atomicMax, old > value ? old : value)
ATOMIC(atomicMin, old < value ? old : value)
ATOMIC(atomicXor, old ^ value)
ATOMIC(atomicOr, old | value)
ATOMIC(atomicAnd, old & value)
ATOMIC(atomicExch, value)
#undef ATOMIC
template <typename T>
static inline T atomicCAS(T *at, typename same<T>::type compare, typename same<T>::type value) {
  const T old = *at;
  if (old == compare) *at = value;
  return old;
}
static inline void __threadfence() {}
static inline void __threadfence_block() {}

static inline int __float_as_int(float value) {
  int bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
static inline unsigned __float_as_uint(float value) { return static_cast<unsigned>(__float_as_int(value)); }
static inline float __uint_as_float(unsigned bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
static inline float __int_as_float(int bits) { return __uint_as_float(static_cast<unsigned>(bits)); }
static inline int __popc(unsigned value) { return __builtin_popcount(value); }
static inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value)); }
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((static_cast<uint64_t>(high) << 32) | low) >> (shift & 31));
}
// Sum of the absolute differences of four bytes.
static inline unsigned __vsadu4(unsigned a, unsigned b) {
  unsigned sum = 0;
  for (int i = 0; i < 32; i += 8) {
    const int x = a >> i & 255, y = b >> i & 255;
    sum += static_cast<unsigned>(x > y ? x - y : y - x);
  }
  return sum;
}
// Each rounds once, which is what -ffp-contract=off leaves them to do.
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline int __float2int_rn(float a) { return static_cast<int>(lrintf(a)); }
static inline int __float2int_rz(float a) { return static_cast<int>(a); }
static inline int __float2int_rd(float a) { return static_cast<int>(floorf(a)); }

namespace host {

[[noreturn]] static void fail(const char *what) {
  fprintf(stderr, "%s, in block (%u, %u, %u), thread (%u, %u, %u)\n", what, blockIdx.x, blockIdx.y, blockIdx.z,
          threadIdx.x, threadIdx.y, threadIdx.z);
  exit(1);
}

// The orders in which a launch takes its blocks and the threads between two barriers.
struct Order {
  // 0: ascending, threads too. Else blocks in a random order of this seed, threads descending.
  unsigned seed;
  // At most so many blocks, the first ones; 0: all.
  unsigned max_blocks;
};

// What a broken scheduler would do: run a block of one launch so many times instead of once.
struct Fault {
  // From 0, since `launches` was set to 0; -1: none.
  int launch = -1;
  unsigned block = 0;
  unsigned times = 1;
};
static Fault fault;
static int launches = 0;

static dim3 at(unsigned flat, dim3 size) {
  return {flat % size.x, flat / size.x % size.y, flat / size.x / size.y};
}

// Fibers: ucontext makes the stacks, setjmp switches between them, since swapcontext takes two system calls each time.
enum class State { ready, at_block_barrier, at_warp_barrier, done };

struct Fiber {
  ucontext_t context;
  jmp_buf resume;
  std::unique_ptr<char[]> stack;
  bool started = false;
  State state = State::done;
};

static const size_t kStackBytes = 64 * 1024;
static const unsigned kWarpThreads = 32;
static std::vector<std::unique_ptr<Fiber>> fibers;
static jmp_buf scheduler;
static Fiber *current = nullptr;
static const std::function<void()> *body = nullptr;

static void yield(State state) {
  current->state = state;
  if (_setjmp(current->resume) == 0) _longjmp(scheduler, 1);
}

static void fiber_main() {
  for (;;) {
    (*body)();
    yield(State::done);
  }
}

static void resume(unsigned thread) {
  current = fibers[thread].get();
  threadIdx = at(thread, blockDim);
  if (_setjmp(scheduler) != 0) return;
  if (current->started) _longjmp(current->resume, 1);
  current->started = true;
  setcontext(&current->context);
}

// Lets those among [begin, end) go on that wait, if all that are not done wait for the same.
static bool release(unsigned begin, unsigned end, State waiting) {
  unsigned count = 0;
  for (unsigned i = begin; i < end; ++i) {
    if (fibers[i]->state == State::done) continue;
    if (fibers[i]->state != waiting) return false;
    ++count;
  }
  for (unsigned i = begin; i < end; ++i) {
    if (fibers[i]->state == waiting) fibers[i]->state = State::ready;
  }
  return count > 0;
}

static void run_block_of_fibers(unsigned threads, bool descending) {
  while (fibers.size() < threads) {
    fibers.push_back(std::make_unique<Fiber>());
    Fiber &fiber = *fibers.back();
    fiber.stack.reset(new char[kStackBytes]);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiber_main, 0);
  }
  for (unsigned i = 0; i < threads; ++i) fibers[i]->state = State::ready;
  for (;;) {
    for (unsigned i = 0; i < threads; ++i) {
      const unsigned thread = descending ? threads - 1 - i : i;
      if (fibers[thread]->state == State::ready) resume(thread);
    }
    bool goes_on = false;
    for (unsigned i = 0; i < threads; i += kWarpThreads) {
      goes_on |= release(i, std::min(i + kWarpThreads, threads), State::at_warp_barrier);
    }
    if (!goes_on) goes_on = release(0, threads, State::at_block_barrier);
    if (goes_on) continue;
    for (unsigned i = 0; i < threads; ++i) {
      if (fibers[i]->state != State::done) fail("threads wait for each other at different barriers");
    }
    current = nullptr;
    return;
  }
}

static void run_block(unsigned threads, bool has_barriers, bool descending) {
  if (has_barriers) {
    run_block_of_fibers(threads, descending);
    return;
  }
  for (unsigned i = 0; i < threads; ++i) {
    threadIdx = at(descending ? threads - 1 - i : i, blockDim);
    (*body)();
  }
}

// `thread` calls the kernel. `has_barriers`: it may wait for other threads.
static void launch(dim3 grid, dim3 block, bool has_barriers, Order order, const std::function<void()> &thread) {
  gridDim = grid;
  blockDim = block;
  body = &thread;
  const unsigned threads = block.x * block.y * block.z;
  const unsigned all = grid.x * grid.y * grid.z;
  std::vector<unsigned> blocks(order.max_blocks == 0 ? all : std::min(all, order.max_blocks));
  for (unsigned i = 0; i < blocks.size(); ++i) blocks[i] = i;
  unsigned random = order.seed;
  for (unsigned i = blocks.size(); order.seed != 0 && i > 1; --i) {
    random = random * 1664525u + 1013904223u;
    std::swap(blocks[i - 1], blocks[(random >> 8) % i]);
  }
  const int number = launches++;
  for (const unsigned index : blocks) {
    blockIdx = at(index, grid);
    const unsigned times = number == fault.launch && index == fault.block ? fault.times : 1;
    for (unsigned time = 0; time < times; ++time) run_block(threads, has_barriers, order.seed != 0);
  }
}

static void wait_for(State barrier) {
  if (current == nullptr) fail("a barrier where the test saw none in the kernel");
  const dim3 self = threadIdx;
  yield(barrier);
  threadIdx = self;
}

}  // namespace host

static inline void __syncthreads() { host::wait_for(host::State::at_block_barrier); }
static inline void __syncwarp(unsigned = ~0u) { host::wait_for(host::State::at_warp_barrier); }

// All lanes that are not done take part.
template <typename T>
static T __shfl_xor_sync(unsigned, T value, int lanes) {
  static T slots[1024];
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  slots[thread] = value;
  __syncwarp();
  const T result = slots[thread ^ static_cast<unsigned>(lanes)];
  __syncwarp();
  return result;
}
template <typename T>
static T __shfl_down_sync(unsigned, T value, unsigned lanes) {
  static T slots[1024];
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  slots[thread] = value;
  __syncwarp();
  const T result = thread % 32 + lanes < 32 ? slots[thread + lanes] : value;
  __syncwarp();
  return result;
}
