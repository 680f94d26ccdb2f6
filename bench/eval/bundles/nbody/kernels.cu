// Background: bodies that attract each other, all pairs, through shared memory in tiles of 256.
#include "../common.cuh"

extern "C" __global__ void begin(float4 *place, float4 *speed) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const float x = (float)(mixed(3 * i) >> 8) / 8388608.0f - 1.0f,
              y = (float)(mixed(3 * i + 1) >> 8) / 8388608.0f - 1.0f;
  place[i] = make_float4(x, y, (float)(mixed(3 * i + 2) >> 8) / 8388608.0f - 1.0f, 1.0f);
  speed[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

extern "C" __global__ void attract(const float4 *place, float4 *next, float4 *speed, int bodies, float time) {
  __shared__ float4 tile[256];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const float4 mine = place[i];
  float ax = 0.0f, ay = 0.0f, az = 0.0f;
  for (int first = 0; first < bodies; first += 256) {
    tile[threadIdx.x] = place[first + threadIdx.x];
    __syncthreads();
    for (int k = 0; k < 256; ++k) {
      const float dx = tile[k].x - mine.x, dy = tile[k].y - mine.y, dz = tile[k].z - mine.z;
      const float square = dx * dx + dy * dy + dz * dz + 0.01f;
      const float force = tile[k].w / (square * sqrtf(square));
      ax += dx * force;
      ay += dy * force;
      az += dz * force;
    }
    __syncthreads();
  }
  float4 s = speed[i];
  s.x += time * ax;
  s.y += time * ay;
  s.z += time * az;
  speed[i] = s;
  next[i] = make_float4(mine.x + time * s.x, mine.y + time * s.y, mine.z + time * s.z, mine.w);
}

// Every 32nd body.
extern "C" __global__ void sample(const float4 *place, float4 *out) { out[threadIdx.x] = place[threadIdx.x * 32]; }
