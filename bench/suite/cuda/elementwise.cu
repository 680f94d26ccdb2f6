// Kernels whose threads work alone, or whose blocks leave before they have begun: a value each, strides, in place,
// early returns. Rebuild: deno run -A bench/suite/cuda/build.ts

static __device__ __forceinline__ unsigned mixed(unsigned x) {
  x = x * 1664525u + 1013904223u;
  return x ^ x >> 15;
}

extern "C" __global__ void elementwise(const float *in, float *out, unsigned count, unsigned rounds) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const float x = in[i];
  float y = x;
#pragma unroll 8
  for (unsigned r = 0; r < rounds; ++r) y = fmaf(y, 0.97f, 0.01f * x);
  out[i] = tanhf(y) + expf(-x * x);
}

// How long a thread stays with an element is in the element: Collatz steps, at most 48.
extern "C" __global__ void grid_stride(const unsigned *in, unsigned *out, unsigned count) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    unsigned x = in[i] & 0xffffffu, steps = 0;
    while (x > 1 && steps < 48) {
      x = x & 1u ? 3u * x + 1u : x >> 1;
      ++steps;
    }
    out[i] = x + (steps << 26);
  }
}

// A block that runs twice, or stops half way and begins anew, changes the result.
extern "C" __global__ void in_place(unsigned *values, unsigned count, unsigned rounds) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  unsigned x = values[i];
  for (unsigned r = 0; r < rounds; ++r) x = mixed(x);
  values[i] = x;
}

// In place with strides: an element of each stride is read, changed and written before the next one.
extern "C" __global__ void in_place_stride(unsigned *values, unsigned count, unsigned rounds) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    unsigned x = values[i];
    for (unsigned r = 0; r < rounds; ++r) x = mixed(x);
    values[i] = x;
  }
}

// Whole blocks return ahead of the barrier: those behind the length of their row.
extern "C" __global__ void early_blocks(const unsigned *lengths, const unsigned *in, unsigned *out, unsigned width) {
  __shared__ unsigned tile[256];
  const unsigned row = blockIdx.y, column = blockIdx.x * 256 + threadIdx.x;
  const unsigned length = lengths[row] % width;
  if (blockIdx.x * 256 >= length) return;
  tile[threadIdx.x] = column < length ? in[row * width + column] : 0;
  __syncthreads();
  unsigned sum = 0;
  for (unsigned i = 0; i < 256; ++i) sum = mixed(sum ^ tile[(threadIdx.x + i) & 255u]);
  out[row * width + column] = sum;
}

// Some threads of each block return ahead of the barrier that the others meet, which CUDA allows where the hardware
// does.
extern "C" __global__ void early_threads(const unsigned *in, unsigned *out, unsigned members, unsigned rounds) {
  __shared__ unsigned tile[256];
  const unsigned t = threadIdx.x, i = blockIdx.x * 256 + t;
  unsigned x = in[i];
  for (unsigned r = 0; r < rounds; ++r) x = mixed(x);
  if (t >= members) {
    out[i] = x;
    return;
  }
  tile[t] = x;
  __syncthreads();
  out[i] = x + 5u * tile[members - 1 - t];
}
