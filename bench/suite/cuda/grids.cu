// Kernels over pictures and volumes: stencils, a convolution with constant memory, histograms, blocks of odd sizes.
// Rebuild: deno run -A bench/suite/cuda/build.ts

extern "C" __global__ void stencil_2d(const float *in, float *out, unsigned width, unsigned height) {
  __shared__ float tile[10][34];
  const unsigned x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 8 + threadIdx.y;
  for (unsigned i = threadIdx.y * 32 + threadIdx.x; i < 10 * 34; i += 256) {
    const int u = static_cast<int>(blockIdx.x * 32 + i % 34) - 1, v = static_cast<int>(blockIdx.y * 8 + i / 34) - 1;
    const bool inside = u >= 0 && v >= 0 && u < static_cast<int>(width) && v < static_cast<int>(height);
    tile[i / 34][i % 34] = inside ? in[static_cast<unsigned>(v) * width + static_cast<unsigned>(u)] : 0.0f;
  }
  __syncthreads();
  const float *at = &tile[threadIdx.y + 1][threadIdx.x + 1];
  if (x < width && y < height) out[y * width + x] = 0.6f * at[0] + 0.1f * (at[-1] + at[1] + at[-34] + at[34]);
}

extern "C" __global__ void stencil_3d(const float *in, float *out, unsigned nx, unsigned ny, unsigned nz) {
  const unsigned x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  const unsigned z = blockIdx.z * blockDim.z + threadIdx.z;
  if (x >= nx || y >= ny || z >= nz) return;
  const unsigned i = (z * ny + y) * nx + x;
  float sum = in[i] * 0.4f;
  if (x > 0) sum += 0.1f * in[i - 1];
  if (x + 1 < nx) sum += 0.1f * in[i + 1];
  if (y > 0) sum += 0.1f * in[i - nx];
  if (y + 1 < ny) sum += 0.1f * in[i + nx];
  if (z > 0) sum += 0.1f * in[i - nx * ny];
  if (z + 1 < nz) sum += 0.1f * in[i + nx * ny];
  out[i] = sum;
}

// A block of 7 x 5 x 3 averages its own box, over and over: 105 threads, a last warp of 9.
extern "C" __global__ void odd_box(const float *in, float *out, unsigned rounds) {
  __shared__ float box[3][5][7];
  const unsigned x = threadIdx.x, y = threadIdx.y, z = threadIdx.z;
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned i = block * 105 + (z * 5 + y) * 7 + x;
  float value = in[i];
  for (unsigned r = 0; r < rounds; ++r) {
    box[z][y][x] = value;
    __syncthreads();
    value = 0.5f * value + 0.1f * (box[z][y][(x + 1) % 7] + box[z][y][(x + 6) % 7] + box[z][(y + 1) % 5][x] +
                                   box[z][(y + 4) % 5][x] + box[(z + 1) % 3][y][x]);
    __syncthreads();
  }
  out[i] = value;
}

// 33 threads: the second warp has one. Votes and shuffles within each warp, by whoever is in it.
extern "C" __global__ void odd_warp(const unsigned *in, unsigned *out, unsigned rounds) {
  __shared__ unsigned votes[2];
  const unsigned t = threadIdx.x, i = blockIdx.x * 33 + t;
  const unsigned members = t < 32 ? 0xffffffffu : 1u;
  unsigned x = in[i];
  for (unsigned r = 0; r < rounds; ++r) {
    const unsigned vote = __ballot_sync(members, x >> 31);
    if (t % 32 == 0) votes[t / 32] = vote;
    __syncthreads();
    x = x * 1664525u + votes[0] + 31u * votes[1] + __shfl_sync(members, x, t < 32 ? (t + r) % 32 : 0);
    x ^= x >> 13;
    __syncthreads();
  }
  out[i] = x;
}

__constant__ float taps[49] = {0.001f, 0.004f, 0.008f, 0.010f, 0.008f, 0.004f, 0.001f, 0.004f, 0.012f, 0.024f,
                               0.030f, 0.024f, 0.012f, 0.004f, 0.008f, 0.024f, 0.047f, 0.059f, 0.047f, 0.024f,
                               0.008f, 0.010f, 0.030f, 0.059f, 0.073f, 0.059f, 0.030f, 0.010f, 0.008f, 0.024f,
                               0.047f, 0.059f, 0.047f, 0.024f, 0.008f, 0.004f, 0.012f, 0.024f, 0.030f, 0.024f,
                               0.012f, 0.004f, 0.001f, 0.004f, 0.008f, 0.010f, 0.008f, 0.004f, 0.001f};

// 7 x 7, with edges repeated.
extern "C" __global__ void convolve(const float *in, float *out, int width, int height) {
  const int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int y = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
  if (x >= width || y >= height) return;
  float sum = 0;
  for (int v = -3; v <= 3; ++v) {
    const int row = min(max(y + v, 0), height - 1);
#pragma unroll
    for (int u = -3; u <= 3; ++u) {
      sum = fmaf(taps[(v + 3) * 7 + u + 3], in[row * width + min(max(x + u, 0), width - 1)], sum);
    }
  }
  out[y * width + x] = sum;
}

// 256 bins in shared memory, brought together with global atomics.
extern "C" __global__ void histogram_shared(const unsigned *in, unsigned *bins, unsigned per_block) {
  __shared__ unsigned mine[256];
  mine[threadIdx.x] = 0;
  __syncthreads();
  for (unsigned i = threadIdx.x; i < per_block; i += 256) {
    const unsigned x = in[blockIdx.x * per_block + i];
    atomicAdd(&mine[x & 255u], 1);
    atomicAdd(&mine[x >> 24], 3);
  }
  __syncthreads();
  atomicAdd(&bins[threadIdx.x], mine[threadIdx.x]);
}

extern "C" __global__ void histogram_global(const unsigned *in, unsigned *bins, unsigned count, unsigned bin_count) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
    atomicAdd(&bins[in[i] % bin_count], i | 1u);
}
