// What the evaluation's integer workloads share. Kept in step with common.ts.
#pragma once

// Mixes the bits of an index: the data of all these workloads, so that no files are needed.
__device__ inline unsigned mixed(unsigned x) {
  x = x * 1664525u + 1013904223u;
  x ^= x >> 15;
  x *= 2246822519u;
  return x ^ (x >> 13);
}

// A sum over `count` words per block, each weighted by its place, so that a word in the wrong place shows. Takes 256
// threads per block.
extern "C" __global__ void fold(const unsigned *words, unsigned *out, unsigned count) {
  __shared__ unsigned part[256];
  unsigned sum = 0;
  for (unsigned i = threadIdx.x; i < count; i += 256) sum += words[blockIdx.x * count + i] * (2 * i + 1);
  part[threadIdx.x] = sum;
  __syncthreads();
  for (unsigned half = 128; half > 0; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = part[0];
}
