// The adversary with long blocks: work that gives the GPU back only every few milliseconds.
//
// Preemption at the end of a block can be no faster than a block. Every other bundle has short blocks; this one shows
// what a job costs a critical task when its author did not care. Rebuild: tools/build_bundle.ts

// A seed depends on the block modulo 8, so that a CPU can check the result: 8 * 256 chains, not 2112 * 256.
#define SEED_BLOCKS 8

// Each round depends on the one before, and no compiler finds a closed form for a multiplication and a shift in turn.
extern "C" __global__ void spin(unsigned *chains, unsigned rounds) {
  unsigned x = (blockIdx.x % SEED_BLOCKS) * blockDim.x + threadIdx.x;
#pragma unroll 1
  for (unsigned r = 0; r < rounds; ++r) {
    x = x * 1664525u + 1013904223u;
    x ^= x >> 15;
  }
  chains[blockIdx.x * blockDim.x + threadIdx.x] = x;
}

// The exclusive or over a block's chains, plus the block's number, so that a block in the wrong place shows. Takes
// 256 threads per block.
extern "C" __global__ void fold(const unsigned *chains, unsigned *out) {
  __shared__ unsigned part[256];
  part[threadIdx.x] = chains[blockIdx.x * blockDim.x + threadIdx.x];
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] ^= part[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = part[0] + blockIdx.x;
}
