// Adversary: reads a table about as large as the L2 of a data centre's GPU at places that no cache foresees.
#include "../common.cuh"

extern "C" __global__ void fill(unsigned *table) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  table[i] = mixed(i);
}

// Each thread follows its own path: the next place depends on what was read. `mask`: words of the table, less 1.
extern "C" __global__ void wander(const unsigned *table, unsigned *out, unsigned mask, unsigned steps) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned at = mixed(i ^ 0x5bd1e995u) & mask, sum = 0;
  for (unsigned s = 0; s < steps; ++s) {
    const unsigned value = table[at];
    sum += value;
    at = (value + i + s) & mask;
  }
  out[i] = sum;
}
