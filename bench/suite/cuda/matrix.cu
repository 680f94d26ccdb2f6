// Matrix products and transposes: tiles, split sums with atomics, tensor cores, more than 48 KiB of shared memory.
// Rebuild: deno run -A bench/suite/cuda/build.ts
#include <cuda_fp16.h>

// C = A B, all of them `n` x `n`; a thread to an element, tiles of 16 x 16.
extern "C" __global__ void matmul_tiled(const float *a, const float *b, float *c, unsigned n) {
  __shared__ float tile_a[16][16], tile_b[16][16];
  const unsigned x = threadIdx.x, y = threadIdx.y;
  const unsigned row = blockIdx.y * 16 + y, column = blockIdx.x * 16 + x;
  float sum = 0;
  for (unsigned k = 0; k < n; k += 16) {
    tile_a[y][x] = a[row * n + k + x];
    tile_b[y][x] = b[(k + y) * n + column];
    __syncthreads();
#pragma unroll
    for (unsigned i = 0; i < 16; ++i) sum = fmaf(tile_a[y][i], tile_b[i][x], sum);
    __syncthreads();
  }
  c[row * n + column] = sum;
}

// Tiles of 64 x 64, 4 x 4 to a thread, 128 of k at a time: 66,560 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(256) matmul_dynamic(const float *a, const float *b, float *c, unsigned n) {
  extern __shared__ float tiles[];
  float *tile_a = tiles, *tile_b = tiles + 64 * 132;
  const unsigned x = threadIdx.x % 16, y = threadIdx.x / 16;
  const unsigned row = blockIdx.y * 64, column = blockIdx.x * 64;
  float sum[4][4] = {};
  for (unsigned k = 0; k < n; k += 128) {
    for (unsigned i = threadIdx.x; i < 64 * 128; i += 256) {
      tile_a[i / 128 * 132 + i % 128] = a[(row + i / 128) * n + k + i % 128];
      tile_b[i] = b[(k + i / 64) * n + column + i % 64];
    }
    __syncthreads();
#pragma unroll 4
    for (unsigned i = 0; i < 128; ++i) {
      float left[4], right[4];
      for (unsigned j = 0; j < 4; ++j) left[j] = tile_a[(y * 4 + j) * 132 + i];
      for (unsigned j = 0; j < 4; ++j) right[j] = tile_b[i * 64 + x + 16 * j];
      for (unsigned p = 0; p < 4; ++p) {
        for (unsigned q = 0; q < 4; ++q) sum[p][q] = fmaf(left[p], right[q], sum[p][q]);
      }
    }
    __syncthreads();
  }
  for (unsigned p = 0; p < 4; ++p) {
    for (unsigned q = 0; q < 4; ++q) c[(row + y * 4 + p) * n + column + x + 16 * q] = sum[p][q];
  }
}

// C += A B over one of gridDim.z parts of k: sums of integers, whose order does not show.
extern "C" __global__ void split_k_int(const int *a, const int *b, int *c, unsigned n) {
  __shared__ int tile_a[16][17], tile_b[16][17];
  const unsigned x = threadIdx.x, y = threadIdx.y;
  const unsigned row = blockIdx.y * 16 + y, column = blockIdx.x * 16 + x;
  const unsigned part = n / gridDim.z, begin = blockIdx.z * part;
  int sum = 0;
  for (unsigned k = begin; k < begin + part; k += 16) {
    tile_a[y][x] = a[row * n + k + x];
    tile_b[y][x] = b[(k + y) * n + column];
    __syncthreads();
    for (unsigned i = 0; i < 16; ++i) sum += tile_a[y][i] * tile_b[i][x];
    __syncthreads();
  }
  atomicAdd(c + row * n + column, sum);
}

// The same with floats, whose order shows.
extern "C" __global__ void split_k_float(const float *a, const float *b, float *c, unsigned n) {
  __shared__ float tile_a[16][17], tile_b[16][17];
  const unsigned x = threadIdx.x, y = threadIdx.y;
  const unsigned row = blockIdx.y * 16 + y, column = blockIdx.x * 16 + x;
  const unsigned part = n / gridDim.z, begin = blockIdx.z * part;
  float sum = 0;
  for (unsigned k = begin; k < begin + part; k += 16) {
    tile_a[y][x] = a[row * n + k + x];
    tile_b[y][x] = b[(k + y) * n + column];
    __syncthreads();
    for (unsigned i = 0; i < 16; ++i) sum = fmaf(tile_a[y][i], tile_b[i][x], sum);
    __syncthreads();
  }
  atomicAdd(c + row * n + column, sum);
}

static __device__ __forceinline__ void mma_16x8x16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// C = A B' on tensor cores: 4 warps, each 16 rows of a tile of 64 x 64; rows of both A and B run along k.
extern "C" __global__ void __launch_bounds__(128) matmul_mma(const __half *a, const __half *b, float *c, unsigned n) {
  __shared__ __align__(16) __half tile_a[64][40], tile_b[64][40];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, pair = lane % 4 * 2;
  const unsigned row = blockIdx.y * 64, column = blockIdx.x * 64;
  const auto word = [](const __half *at) { return *reinterpret_cast<const unsigned *>(at); };
  float sum[8][4] = {};
  for (unsigned k = 0; k < n; k += 32) {
    for (unsigned i = threadIdx.x; i < 64 * 4; i += 128) {
      const unsigned r = i / 4, q = i % 4 * 8;
      *reinterpret_cast<uint4 *>(&tile_a[r][q]) = *reinterpret_cast<const uint4 *>(a + (row + r) * n + k + q);
      *reinterpret_cast<uint4 *>(&tile_b[r][q]) = *reinterpret_cast<const uint4 *>(b + (column + r) * n + k + q);
    }
    __syncthreads();
#pragma unroll
    for (unsigned s = 0; s < 32; s += 16) {
      const __half *upper = &tile_a[warp * 16 + group][s + pair], *lower = upper + 8 * 40;
      const unsigned left[4] = {word(upper), word(lower), word(upper + 8), word(lower + 8)};
#pragma unroll
      for (unsigned j = 0; j < 8; ++j) {
        const __half *at = &tile_b[j * 8 + group][s + pair];
        const unsigned right[2] = {word(at), word(at + 8)};
        mma_16x8x16(sum[j], left, right);
      }
    }
    __syncthreads();
  }
  float *at = c + (row + warp * 16 + group) * n + column + pair;
  for (unsigned j = 0; j < 8; ++j) {
    at[j * 8] = sum[j][0];
    at[j * 8 + 1] = sum[j][1];
    at[8 * n + j * 8] = sum[j][2];
    at[8 * n + j * 8 + 1] = sum[j][3];
  }
}

extern "C" __global__ void transpose(const float *in, float *out, unsigned width, unsigned height) {
  __shared__ float tile[32][33];
  unsigned x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
  for (unsigned j = 0; j < 32; j += 8) {
    if (x < width && y + j < height) tile[threadIdx.y + j][threadIdx.x] = in[(y + j) * width + x];
  }
  __syncthreads();
  x = blockIdx.y * 32 + threadIdx.x;
  y = blockIdx.x * 32 + threadIdx.y;
  for (unsigned j = 0; j < 32; j += 8) {
    if (x < height && y + j < width) out[(y + j) * height + x] = tile[threadIdx.x][threadIdx.y + j];
  }
}
