// Kernels whose threads go separate ways: asynchronous copies, named barriers, mbarriers. For sm_90.
// Rebuild: deno run -A bench/suite/cuda/build.ts
#include <cuda/barrier>
#include <cuda_pipeline.h>

static __device__ __forceinline__ float settled(float x) {
#pragma unroll
  for (int i = 0; i < 16; ++i) x = fmaf(x, 0.97f, 0.01f);
  return x;
}

// Two tiles in turn: one is copied while the other is summed. 128 threads, `tiles` tiles of 512 floats.
extern "C" __global__ void pipeline(const float *in, float *out, unsigned tiles) {
  __shared__ __align__(16) float stage[2][512];
  const unsigned t = threadIdx.x;
  const float *from = in + blockIdx.x * tiles * 512;
  const auto fetch = [&](unsigned tile) {
    if (tile < tiles) __pipeline_memcpy_async(&stage[tile % 2][t * 4], from + tile * 512 + t * 4, 16);
    __pipeline_commit();
  };
  float sum = 0;
  fetch(0);
  for (unsigned tile = 0; tile < tiles; ++tile) {
    fetch(tile + 1);
    __pipeline_wait_prior(1);
    __syncthreads();
    for (unsigned i = 0; i < 4; ++i) sum += settled(stage[tile % 2][i * 128 + (t ^ 1u)]);
    __syncthreads();
  }
  out[blockIdx.x * 128 + t] = sum;
}

static __device__ __forceinline__ void named_sync(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
static __device__ __forceinline__ void named_arrive(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// Warps 0 and 1 fill a tile, warps 2 and 3 use it up: barriers 1 and 2 say full, 3 and 4 say empty.
extern "C" __global__ void __launch_bounds__(128) specialised(const float *in, float *out, unsigned tiles) {
  __shared__ float stage[2][64];
  const unsigned t = threadIdx.x % 64;
  const float *from = in + blockIdx.x * tiles * 64;
  if (threadIdx.x < 64) {
    for (unsigned tile = 0; tile < tiles; ++tile) {
      const int which = static_cast<int>(tile % 2);
      if (tile >= 2) named_sync(3 + which, 128);
      stage[which][t] = settled(from[tile * 64 + t]);
      named_arrive(1 + which, 128);
    }
    return;
  }
  float sum = 0;
  for (unsigned tile = 0; tile < tiles; ++tile) {
    const int which = static_cast<int>(tile % 2);
    named_sync(1 + which, 128);
    sum = settled(sum + stage[which][63 - t]);
    if (tile + 2 < tiles) named_arrive(3 + which, 128);
  }
  out[blockIdx.x * 64 + t] = sum;
}

// The same partition, all in one loop without a return: an even warp hands to the odd one next to it.
extern "C" __global__ void __launch_bounds__(128) handed(const float *in, float *out, unsigned rounds) {
  __shared__ float stage[2][32];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, pair = warp / 2;
  float x = in[blockIdx.x * 128 + threadIdx.x];
  for (unsigned r = 0; r < rounds; ++r) {
    if (warp % 2 == 0) stage[pair][lane] = x;
    named_sync(static_cast<int>(1 + pair), 64);
    if (warp % 2 == 1) x = settled(x + stage[pair][31 - lane]);
    named_sync(static_cast<int>(1 + pair), 64);
    x = settled(x);
  }
  out[blockIdx.x * 128 + threadIdx.x] = x;
}

using Barrier = cuda::barrier<cuda::thread_scope_block>;
#pragma nv_diag_suppress static_var_with_dynamic_init

// Neighbours swap values through shared memory; an mbarrier, not a barrier of the block, tells when.
extern "C" __global__ void mbarrier_swap(const float *in, float *out, unsigned rounds) {
  __shared__ Barrier barrier;
  __shared__ float values[256];
  const unsigned t = threadIdx.x;
  if (t == 0) init(&barrier, blockDim.x);
  __syncthreads();
  float x = in[blockIdx.x * 256 + t];
  for (unsigned r = 0; r < rounds; ++r) {
    values[t] = x;
    barrier.arrive_and_wait();
    x = settled(x + values[(t + 1 + r) % 256]);
    barrier.arrive_and_wait();
  }
  out[blockIdx.x * 256 + t] = x;
}

static __device__ __forceinline__ void arrive_and_wait(unsigned barrier, unsigned parity) {
  unsigned done = 0;
  asm volatile("{\n .reg .b64 %%state;\n mbarrier.arrive.shared.b64 %%state, [%0];\n}" ::"r"(barrier) : "memory");
  while (done == 0) {
    asm volatile(
        "{\n .reg .pred %%passed;\n mbarrier.test_wait.parity.shared.b64 %%passed, [%1], %2;\n"
        " selp.u32 %0, 1, 0, %%passed;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  }
}

// The same with bare instructions: cuda::barrier looks at the clock while it waits.
extern "C" __global__ void mbarrier_bare(const float *in, float *out, unsigned rounds) {
  __shared__ unsigned long long barrier;
  __shared__ float values[256];
  const unsigned t = threadIdx.x, address = static_cast<unsigned>(__cvta_generic_to_shared(&barrier));
  if (t == 0) asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(address), "r"(blockDim.x) : "memory");
  __syncthreads();
  float x = in[blockIdx.x * 256 + t];
  for (unsigned r = 0; r < rounds; ++r) {
    values[t] = x;
    arrive_and_wait(address, 0);
    x = settled(x + values[(t + 1 + r) % 256]);
    arrive_and_wait(address, 1);
  }
  out[blockIdx.x * 256 + t] = x;
  __syncthreads();
  if (t == 0) asm volatile("mbarrier.inval.shared.b64 [%0];" ::"r"(address) : "memory");
}

// Thread 0 has the copy engine fetch each tile; the mbarrier counts its bytes.
extern "C" __global__ void bulk_copies(const float *in, float *out, unsigned tiles) {
  __shared__ Barrier full;
  __shared__ __align__(128) float stage[1024];
  const unsigned t = threadIdx.x;
  if (t == 0) {
    init(&full, blockDim.x);
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __syncthreads();
  float sum = 0;
  for (unsigned tile = 0; tile < tiles; ++tile) {
    Barrier::arrival_token token;
    if (t == 0) {
      const float *from = in + (blockIdx.x * tiles + tile) * 1024;
      cuda::device::memcpy_async_tx(stage, from, cuda::aligned_size_t<16>(sizeof stage), full);
      token = cuda::device::barrier_arrive_tx(full, 1, sizeof stage);
    } else {
      token = full.arrive();
    }
    full.wait(std::move(token));
    for (unsigned i = 0; i < 8; ++i) sum += settled(stage[i * 128 + 127 - t]);
    __syncthreads();
  }
  out[blockIdx.x * 128 + t] = sum;
}
