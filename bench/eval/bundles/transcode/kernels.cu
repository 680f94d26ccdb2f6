// Background: the heart of a video encoder, in integers: motion search, block transform, quantisation.
#include "../common.cuh"
#define WIDTH 1280
#define HEIGHT 768
#define REACH 8

// A texture and the same one moved by 3 and 2 pixels with some noise. One thread per pixel; `shift` 0 is the earlier
// frame.
extern "C" __global__ void synthesise(unsigned char *frame, unsigned shift) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned x = i % WIDTH + 3 * shift, y = i / WIDTH + 2 * shift;
  const unsigned value = mixed(x / 4 + y / 4 * 4096) % 200 + x % 4 * 4 + y % 4 * 4;
  frame[i] = value + shift * (mixed(i) % 5);
}

// One block of 256 threads for each 16 x 16 pixels: the displacement with the least sum of absolute differences, the
// first of equals. Places outside the frame are those of its border.
extern "C" __global__ void search(const unsigned char *now, const unsigned char *before, int *motion) {
  __shared__ int best[256];
  const int left = blockIdx.x % (WIDTH / 16) * 16, top = blockIdx.x / (WIDTH / 16) * 16;
  int mine = 0x7fffffff;
  for (int place = threadIdx.x; place < (2 * REACH + 1) * (2 * REACH + 1); place += 256) {
    const int dx = place % (2 * REACH + 1) - REACH, dy = place / (2 * REACH + 1) - REACH;
    int sum = 0;
    for (int y = 0; y < 16; ++y) {
      const int py = min(max(top + y + dy, 0), HEIGHT - 1);
      for (int x = 0; x < 16; ++x) {
        const int px = min(max(left + x + dx, 0), WIDTH - 1);
        sum += abs((int)now[(top + y) * WIDTH + left + x] - (int)before[py * WIDTH + px]);
      }
    }
    mine = min(mine, sum * 512 + place);
  }
  best[threadIdx.x] = mine;
  __syncthreads();
  for (unsigned half = 128; half > 0; half /= 2) {
    if (threadIdx.x < half) best[threadIdx.x] = min(best[threadIdx.x], best[threadIdx.x + half]);
    __syncthreads();
  }
  if (threadIdx.x == 0) motion[blockIdx.x] = best[0] % 512;
}

// The integer transform's rows: 64 times the cosines, rounded.
__constant__ int cosines[64] = {23, 23,  23,  23,  23,  23,  23,  23, 31, 27,  18,  6,   -6,  -18, -27, -31,
                                30, 12,  -12, -30, -30, -12, 12,  30, 27, -6,  -31, -18, 18,  31,  6,   -27,
                                23, -23, -23, 23,  23,  -23, -23, 23, 18, -31, 6,   27,  -27, -6,  31,  -18,
                                12, -30, 30,  -12, -12, 30,  -30, 12, 6,  -18, 27,  -31, 31,  -27, 18,  -6};

// One block of 64 threads for each 8 x 8 pixels: what the motion leaves, transformed and divided by the quantiser.
extern "C" __global__ void transform(const unsigned char *now, const unsigned char *before, const int *motion,
                                     int *out) {
  __shared__ int left_over[64], rows[64];
  const int bx = blockIdx.x % (WIDTH / 8), by = blockIdx.x / (WIDTH / 8);
  const int place = motion[by / 2 * (WIDTH / 16) + bx / 2];
  const int x = bx * 8 + threadIdx.x % 8, y = by * 8 + threadIdx.x / 8;
  const int px = min(max(x + place % (2 * REACH + 1) - REACH, 0), WIDTH - 1);
  const int py = min(max(y + place / (2 * REACH + 1) - REACH, 0), HEIGHT - 1);
  left_over[threadIdx.x] = (int)now[y * WIDTH + x] - (int)before[py * WIDTH + px];
  __syncthreads();
  const int u = threadIdx.x % 8, v = threadIdx.x / 8;
  int sum = 0;
  for (int i = 0; i < 8; ++i) sum += left_over[v * 8 + i] * cosines[u * 8 + i];
  rows[threadIdx.x] = sum;
  __syncthreads();
  sum = 0;
  for (int i = 0; i < 8; ++i) sum += rows[i * 8 + u] * cosines[v * 8 + i];
  out[blockIdx.x * 64 + threadIdx.x] = sum / (4096 * (4 + u + v));
}
