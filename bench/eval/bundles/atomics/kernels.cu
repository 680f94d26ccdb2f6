// Adversary: threads that all add to few words.
#include "../common.cuh"

extern "C" __global__ void tally(unsigned *counters, unsigned mask, unsigned steps) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  for (unsigned s = 0; s < steps; ++s) {
    const unsigned value = mixed(i * steps + s);
    atomicAdd(counters + (value & mask), value >> 16);
  }
}
