// Kernels that bring many values together: in shared memory, by shuffles, by the block that finishes last, by a scan,
// by compare-and-swap. Rebuild: deno run -A bench/suite/cuda/build.ts

extern "C" __global__ void block_sums(const float *in, float *sums, unsigned per_block) {
  __shared__ float partial[256];
  float sum = 0;
  for (unsigned i = threadIdx.x; i < per_block; i += 256) sum += in[blockIdx.x * per_block + i];
  partial[threadIdx.x] = sum;
  __syncthreads();
  for (unsigned half = 128; half > 0; half >>= 1) {
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = partial[0];
}

// One warp to a row: its sum and its largest value, and each value less the mean.
extern "C" __global__ void warp_rows(const float *in, float *out, float *most, unsigned width) {
  const unsigned row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  float sum = 0, largest = -INFINITY;
  for (unsigned i = lane; i < width; i += 32) {
    const float x = in[row * width + i];
    sum += x;
    largest = fmaxf(largest, x);
  }
  for (unsigned d = 16; d > 0; d >>= 1) {
    sum += __shfl_xor_sync(0xffffffffu, sum, d);
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, d));
  }
  for (unsigned i = lane; i < width; i += 32) out[row * width + i] = in[row * width + i] - sum / width;
  if (lane == 0) most[row] = largest;
}

// The block that finishes last adds up what all have left, in the order of the blocks, and sets the counter back.
extern "C" __global__ void last_block(const float *in, float *partials, unsigned *finished, float *total,
                                      unsigned per_block) {
  __shared__ float shared[256];
  __shared__ bool last;
  float sum = 0;
  for (unsigned i = threadIdx.x; i < per_block; i += 256) sum += in[blockIdx.x * per_block + i];
  shared[threadIdx.x] = sum;
  __syncthreads();
  for (unsigned half = 128; half > 0; half >>= 1) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    partials[blockIdx.x] = shared[0];
    __threadfence();
    last = atomicInc(finished, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  sum = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += 256) sum += __ldcg(partials + i);
  shared[threadIdx.x] = sum;
  __syncthreads();
  for (unsigned half = 128; half > 0; half >>= 1) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) *total = shared[0];
}

// Inclusive prefix sums of 1024 elements, modulo 2^32; and of the same again, `rounds` times.
extern "C" __global__ void __launch_bounds__(1024) block_scan(const unsigned *in, unsigned *out, unsigned rounds) {
  __shared__ unsigned of_warp[32];
  const unsigned t = threadIdx.x, lane = t % 32, warp = t / 32;
  unsigned x = in[blockIdx.x * 1024 + t];
  for (unsigned r = 0; r < rounds; ++r) {
    for (unsigned d = 1; d < 32; d <<= 1) {
      const unsigned before = __shfl_up_sync(0xffffffffu, x, d);
      if (lane >= d) x += before;
    }
    if (lane == 31) of_warp[warp] = x;
    __syncthreads();
    if (warp == 0) {
      unsigned sum = of_warp[lane];
      for (unsigned d = 1; d < 32; d <<= 1) {
        const unsigned before = __shfl_up_sync(0xffffffffu, sum, d);
        if (lane >= d) sum += before;
      }
      of_warp[lane] = sum;
    }
    __syncthreads();
    if (warp > 0) x += of_warp[warp - 1];
    __syncthreads();
  }
  out[blockIdx.x * 1024 + t] = x;
}

// The largest value of each bin. A float has no atomicMax, so one is made of compare-and-swap; the order does not show.
extern "C" __global__ void float_max(const float *in, float *bins, unsigned count, unsigned bin_count) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    const float x = in[i];
    unsigned *bin = reinterpret_cast<unsigned *>(bins + i * 2654435761u % bin_count);
    unsigned seen = *bin;
    while (__uint_as_float(seen) < x) {
      const unsigned before = atomicCAS(bin, seen, __float_as_uint(x));
      if (before == seen) break;
      seen = before;
    }
  }
}
