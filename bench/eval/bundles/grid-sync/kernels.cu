// Adversary: blocks that wait for each other, so that none may be left behind: all are resident, or none ends.
#include "../common.cuh"

// A barrier of all blocks by hand: `meeting` counts arrivals, and only grows.
extern "C" __global__ void together(unsigned *values, unsigned *meeting, unsigned rounds, unsigned turns) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x, count = gridDim.x * blockDim.x;
  unsigned x = mixed(i);
  for (unsigned turn = 0; turn < turns; ++turn) {
#pragma unroll 1
    for (unsigned r = 0; r < rounds; ++r) {
      x = x * 1664525u + 1013904223u;
      x ^= x >> 15;
    }
    values[turn % 2 * count + i] = x;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      atomicAdd(meeting, 1u);
      while (*(volatile unsigned *)meeting < (turn + 1) * gridDim.x) {
      }
    }
    __syncthreads();
    // What the same thread of the next block found: wrong unless all have arrived.
    x += ((volatile unsigned *)values)[turn % 2 * count + (i + blockDim.x) % count];
  }
  values[2 * count + i] = x;
}
