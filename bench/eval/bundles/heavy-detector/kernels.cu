// Critical: a detector of a few milliseconds: eight 3x3 convolutions of 32 channels over 320 x 180, then one score per
// cell.
#define WIDTH 320
#define HEIGHT 180
#define CHANNELS 32

// Each input pixel becomes 2 x 2 pixels of all channels.
extern "C" __global__ void expand(const unsigned char *frame, float *out) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned channel = i % CHANNELS, pixel = i / CHANNELS;
  const unsigned x = pixel % WIDTH, y = pixel / WIDTH;
  if (y >= HEIGHT) return;
  out[i] = (float)frame[y / 2 * (WIDTH / 2) + x / 2] / 256.0f - 0.03125f * (float)channel;
}

// Weights are [tap][in][out]; borders count as 0. One thread per output element, then max(0, x).
extern "C" __global__ void convolve(const float *__restrict__ in, const float *__restrict__ weights, float *out) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned channel = i % CHANNELS, pixel = i / CHANNELS;
  const int x = pixel % WIDTH, y = pixel / WIDTH;
  if (y >= HEIGHT) return;
  float sum = 0.0f;
  for (int tap = 0; tap < 9; ++tap) {
    const int px = x + tap % 3 - 1, py = y + tap / 3 - 1;
    if (px < 0 || px >= WIDTH || py < 0 || py >= HEIGHT) continue;
    const float *from = in + (py * WIDTH + px) * CHANNELS;
    const float *weight = weights + tap * CHANNELS * CHANNELS + channel;
    for (int c = 0; c < CHANNELS; ++c) sum += from[c] * weight[c * CHANNELS];
  }
  out[i] = sum > 0.0f ? sum : 0.0f;
}

// The mean over a cell of 20 x 20 pixels, all channels. One thread per cell and channel would be faster; it is a tail.
extern "C" __global__ void score(const float *in, float *out) {
  const unsigned cell = blockIdx.x, channel = threadIdx.x;
  const unsigned left = cell % 16 * 20, top = cell / 16 * 20;
  float sum = 0.0f;
  for (unsigned y = 0; y < 20; ++y) {
    for (unsigned x = 0; x < 20; ++x) sum += in[((top + y) * WIDTH + left + x) * CHANNELS + channel];
  }
  out[cell * CHANNELS + channel] = sum / 400.0f;
}
