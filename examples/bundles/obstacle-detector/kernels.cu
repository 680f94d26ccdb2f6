// The kernels of the obstacle detector; which layer has which sizes is in network.ts, what they compute once more in
// reference.ts, bit for bit. Rebuild: tools/build_bundle.ts, which compiles with --fmad=false.
//
// One thread per output element, in [height, width, channels]. No thread depends on another, so blocks can stop and go on
// in any order. Sums run in a fixed order: bias, then ky, kx, input channel.

#define FIELDS 6
#define MAX_BOXES 100
#define CELL_PX 8.0f

// 3 x 3 with one pixel of padding, stride 2, relu; reads bytes 0..255 as -0.5..0.5.
extern "C" __global__ void stem(const unsigned char *frame, const float *weights, const float *bias, float *out,
                                int width, int height, int out_width, int out_height, int out_channels) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= out_width * out_height * out_channels) return;
  const int oc = i % out_channels;
  const int ox = i / out_channels % out_width;
  const int oy = i / out_channels / out_width;
  float sum = bias[oc];
  for (int ky = 0; ky < 3; ++ky) {
    const int y = oy * 2 + ky - 1;
    if (y < 0 || y >= height) continue;
    for (int kx = 0; kx < 3; ++kx) {
      const int x = ox * 2 + kx - 1;
      if (x < 0 || x >= width) continue;
      for (int c = 0; c < 3; ++c) {
        const float value = frame[(y * width + x) * 3 + c] * (1.0f / 255.0f) - 0.5f;
        sum += value * weights[((ky * 3 + kx) * 3 + c) * out_channels + oc];
      }
    }
  }
  out[i] = sum > 0.0f ? sum : 0.0f;
}

// 3 x 3 with one pixel of padding, relu.
extern "C" __global__ void conv3x3(const float *in, const float *weights, const float *bias, float *out, int width,
                                   int height, int in_channels, int out_width, int out_height, int out_channels,
                                   int stride) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= out_width * out_height * out_channels) return;
  const int oc = i % out_channels;
  const int ox = i / out_channels % out_width;
  const int oy = i / out_channels / out_width;
  float sum = bias[oc];
  for (int ky = 0; ky < 3; ++ky) {
    const int y = oy * stride + ky - 1;
    if (y < 0 || y >= height) continue;
    for (int kx = 0; kx < 3; ++kx) {
      const int x = ox * stride + kx - 1;
      if (x < 0 || x >= width) continue;
      const float *pixel = in + (y * width + x) * in_channels;
      const float *taps = weights + (ky * 3 + kx) * in_channels * out_channels + oc;
      for (int c = 0; c < in_channels; ++c) sum += pixel[c] * taps[c * out_channels];
    }
  }
  out[i] = sum > 0.0f ? sum : 0.0f;
}

// 1 x 1, without relu.
extern "C" __global__ void head(const float *in, const float *weights, const float *bias, float *out, int pixels,
                                int in_channels, int out_channels) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= pixels * out_channels) return;
  const int oc = i % out_channels;
  const float *pixel = in + i / out_channels * in_channels;
  float sum = bias[oc];
  for (int c = 0; c < in_channels; ++c) sum += pixel[c] * weights[c * out_channels + oc];
  out[i] = sum;
}

// -1..1 like tanh, but with operations that are rounded correctly everywhere.
static __device__ __forceinline__ float soft(float x) { return x / (1.0f + fabsf(x)); }

// Whether no cell beside this one is surer, or as sure and ahead of it: an obstacle near a border between cells is seen by both.
static __device__ __forceinline__ bool is_peak(const float *cells, int i, int grid_width, int grid_height) {
  const int column = i % grid_width, row = i / grid_width;
  const float mine = cells[i * FIELDS];
  for (int y = row - 1; y <= row + 1; ++y) {
    if (y < 0 || y >= grid_height) continue;
    for (int x = column - 1; x <= column + 1; ++x) {
      const int other = y * grid_width + x;
      if (x < 0 || x >= grid_width || other == i) continue;
      const float theirs = cells[other * FIELDS];
      if (theirs > mine || (theirs == mine && other < i)) return false;
    }
  }
  return true;
}

// A cell's objectness, x, y, w, h, class to a candidate: x, y, w, h, score (0: none), class.
extern "C" __global__ void decode(const float *cells, float *candidates, int grid_width, int grid_height) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= grid_width * grid_height) return;
  const float *cell = cells + i * FIELDS;
  float *candidate = candidates + i * FIELDS;
  const float column = i % grid_width + 0.5f;
  const float row = i / grid_width + 0.5f;
  const float width = CELL_PX + 64.0f * (1.0f + soft(cell[3]));
  const float height = CELL_PX + 64.0f * (1.0f + soft(cell[4]));
  candidate[0] = (column + 0.5f * soft(cell[1])) * CELL_PX - 0.5f * width;
  candidate[1] = (row + 0.5f * soft(cell[2])) * CELL_PX - 0.5f * height;
  candidate[2] = width;
  candidate[3] = height;
  const bool found = cell[0] > 0.0f && is_peak(cells, i, grid_width, grid_height);
  candidate[4] = found ? 0.5f + 0.5f * soft(cell[0]) : 0.0f;
  candidate[5] = cell[5] > 0.0f ? 1.0f : 0.0f;
}

// Puts each candidate where its score ranks it, of equal ones the lower cell first: ranks are unique, so no two threads
// write the same row. Rows that nobody takes keep what they had: zeros.
extern "C" __global__ void top_boxes(const float *candidates, float *boxes, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const float score = candidates[i * FIELDS + 4];
  if (!(score > 0.0f)) return;
  int rank = 0;
  for (int other = 0; other < count; ++other) {
    const float theirs = candidates[other * FIELDS + 4];
    rank += theirs > score || (theirs == score && other < i);
  }
  if (rank >= MAX_BOXES) return;
  for (int field = 0; field < FIELDS; ++field) boxes[rank * FIELDS + field] = candidates[i * FIELDS + field];
}
