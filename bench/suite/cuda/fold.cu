// Large outputs, folded: `lanes` words that change whenever one bit of the input changes.
//
// Each lane takes every `lanes`-th word of the input. Each step is a bijection of what came before, so that a single
// word that differs is certain to show. bench/suite/bundle.ts puts this kernel in front of the others. Rebuild: deno
// run -A bench/suite/cuda/build.ts
extern "C" __global__ void calypte_suite_fold(const unsigned long long *in, unsigned long long *out,
                                              unsigned long long count, unsigned lanes) {
  const unsigned lane = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long hash = 0xcbf29ce484222325ull + lane;
#pragma unroll 8
  for (unsigned long long i = lane; i < count; i += lanes) {
    hash = (hash ^ in[i]) * 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 29;
  }
  out[lane] = hash;
}
