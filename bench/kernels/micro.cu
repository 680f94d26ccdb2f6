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
