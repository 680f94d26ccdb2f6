// Steps of every kind in one unit, in place, so that a block that runs twice or not at all changes the result.
//
// init (block), memset, cross (whole), finish (block), copy. Each element takes x = x * a + salt, and each salt costs
// `rounds` rounds of a chain, which makes the blocks last. All arithmetic is modulo 2^32, sums commute: the order of
// blocks does not matter, their number does. Rebuild: tools/build_bundle.ts

#define THREADS 64
// Tallies, which blocks share, and inputs.
#define TALLIES 64
#define INPUTS 4096

// Threads of a block that meet the barrier in `cross`.
#define CROSSING 48

// Depends on the block modulo 16 and the thread modulo 8, so that a CPU can check all salts: 128 for each `kind`.
static __device__ __forceinline__ unsigned salt_of(unsigned kind, unsigned rounds) {
  unsigned x = kind * 128u + (blockIdx.x % 16u) * 8u + threadIdx.x % 8u;
#pragma unroll 1
  for (unsigned r = 0; r < rounds; ++r) {
    x = x * 1664525u + 1013904223u;
    x ^= x >> 15;
  }
  return x;
}

// Setting the elements anew would hide a block that runs twice; its visit does not. `finish` takes the visits back.
extern "C" __global__ void init(const unsigned *in, unsigned *values, unsigned *visits, unsigned rounds) {
  const unsigned i = blockIdx.x * THREADS + threadIdx.x;
  values[i] = in[i % INPUTS] * 2654435761u + salt_of(0, rounds);
  if (threadIdx.x == 0) visits[blockIdx.x] += 1;
}

// No processor has such a number, but a branch that depends on it is one that no compiler may trust when blocks run in
// few workers: so this kernel runs whole or not at all.
static __device__ __forceinline__ bool elsewhere() {
  unsigned processor = 0;
#ifdef __CUDA_ARCH__
  asm("mov.u32 %0, %%smid;" : "=r"(processor));
#endif
  return processor >= 1u << 30;
}

// The last 16 threads return before the barrier that the others meet.
extern "C" __global__ void cross(unsigned *values, unsigned *tally, unsigned rounds) {
  if (elsewhere()) return;
  __shared__ unsigned row[CROSSING];
  const unsigned t = threadIdx.x;
  const unsigned i = blockIdx.x * THREADS + t;
  const unsigned x = values[i] * 1103515245u + salt_of(1, rounds);
  atomicAdd(&tally[blockIdx.x % TALLIES], x);
  if (t >= CROSSING) {
    values[i] = x;
    return;
  }
  row[t] = x;
  __syncthreads();
  values[i] = x + 5u * row[CROSSING - 1 - t];
}

extern "C" __global__ void finish(unsigned *values, const unsigned *tally, unsigned *visits, unsigned rounds) {
  const unsigned i = blockIdx.x * THREADS + threadIdx.x;
  const unsigned visited = visits[blockIdx.x];
  const unsigned x = values[i] * 69069u + salt_of(2, rounds);
  values[i] = (x ^ tally[blockIdx.x % TALLIES]) + visited * 97u;
  // All have read the visits before they are zero again for the next unit.
  __syncthreads();
  if (threadIdx.x == 0) visits[blockIdx.x] = visited - 1;
}
