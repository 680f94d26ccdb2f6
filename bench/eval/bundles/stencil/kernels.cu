// Background: shallow water on a torus of 512 x 512 cells, by Lax and Friedrichs: many short kernels.
#define N 512

// A hump of water in the middle, at rest: height, then momentum in x and in y.
extern "C" __global__ void begin(float *h, float *u, float *v) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const float x = (float)(i % N - N / 2), y = (float)(i / N - N / 2);
  h[i] = 1.0f + 0.5f / (1.0f + (x * x + y * y) / 1024.0f);
  u[i] = 0.0f;
  v[i] = 0.0f;
}

__device__ inline float flux(float a, float b, float h) { return a * b / h; }

// One step in time; `k` is half the step over the cell's width.
extern "C" __global__ void step(const float *h, const float *u, const float *v, float *h2, float *u2, float *v2,
                                float k) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const int x = i % N, y = i / N;
  const int w = y * N + (x + N - 1) % N, e = y * N + (x + 1) % N;
  const int n = (y + N - 1) % N * N + x, s = (y + 1) % N * N + x;
  const float he = h[e], hw = h[w], hn = h[n], hs = h[s];
  h2[i] = 0.25f * (he + hw + hn + hs) - k * (u[e] - u[w] + (v[s] - v[n]));
  u2[i] = 0.25f * (u[e] + u[w] + u[n] + u[s]) -
          k * (flux(u[e], u[e], he) + 0.5f * he * he - (flux(u[w], u[w], hw) + 0.5f * hw * hw) +
               (flux(u[s], v[s], hs) - flux(u[n], v[n], hn)));
  v2[i] = 0.25f * (v[e] + v[w] + v[n] + v[s]) -
          k * (flux(v[s], v[s], hs) + 0.5f * hs * hs - (flux(v[n], v[n], hn) + 0.5f * hn * hn) +
               (flux(u[e], v[e], he) - flux(u[w], v[w], hw)));
}

// Every eighth cell of every eighth row.
extern "C" __global__ void sample(const float *h, float *out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = h[i / (N / 8) * 8 * N + i % (N / 8) * 8];
}
