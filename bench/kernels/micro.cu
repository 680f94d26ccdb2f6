// Kernels of known length for the micro-benchmark. Rebuild: deno run -A bench/kernels/build.ts
//
// Unrolled, so that its loop overhead does not depend on what is compiled around it.
// `spin` keeps a block busy for a time that grows with `rounds`: each round depends on the one before, and no
// compiler finds a closed form for a multiplication and a shift in turn. Its result can be computed on the CPU.
extern "C" __global__ void spin(unsigned *out, unsigned rounds) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned x = i;
#pragma unroll 8
  for (unsigned r = 0; r < rounds; ++r) {
    x = x * 1664525u + 1013904223u;
    x ^= x >> 15;
  }
  out[i] = x;
}

// Sets or clears a word: a critical task shows with it that it is at work.
extern "C" __global__ void mark(unsigned *at_work, unsigned on) { *at_work = on; }

// As `spin`, and counts the blocks that begin while either of two critical tasks is at work.
extern "C" __global__ void witness(unsigned *out, unsigned rounds, const unsigned *one, const unsigned *other,
                                   unsigned *seen) {
  if (threadIdx.x == 0) {
    const unsigned working = *(volatile const unsigned *)one | *(volatile const unsigned *)other;
    if (working != 0) atomicAdd(seen, 1u);
  }
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned x = i;
#pragma unroll 8
  for (unsigned r = 0; r < rounds; ++r) {
    x = x * 1664525u + 1013904223u;
    x ^= x >> 15;
  }
  out[i] = x;
}
