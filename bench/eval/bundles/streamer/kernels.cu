// Adversary: moves as much memory as there is bandwidth for.
#include "../common.cuh"

extern "C" __global__ void fill(uint4 *to) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  to[i] = make_uint4(mixed(4 * i), mixed(4 * i + 1), mixed(4 * i + 2), mixed(4 * i + 3));
}

extern "C" __global__ void stream(const uint4 *from, uint4 *to) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const uint4 x = from[i];
  to[i] = make_uint4(x.x + 1u, x.y + 2u, x.z + 3u, x.w + 4u);
}
