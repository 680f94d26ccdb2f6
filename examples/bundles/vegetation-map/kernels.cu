/**
 * Where does the ground carry plants? One 640 x 360 frame in, statistics of 40 x 40 pixel tiles out.
 *
 * Only integers, + - * / on floats in a fixed order, and comparisons: compiled with --fmad=false, reference.ts gets the
 * same bits. No block reads what another block of the same step writes, and no thread leaves before a barrier
 * of its block, so every kernel can be stopped between its blocks. The only meeting of blocks is the
 * histogram's integer additions, whose order cannot be seen.
 *
 * Shapes are fixed here and in source.ts; every buffer is row-major, without padding.
 */

constexpr int kWidth = 640;
constexpr int kHeight = 360;
constexpr int kPixels = kWidth * kHeight;
constexpr int kThreads = 256;

/** Smoothing reaches this many pixels to each side. */
constexpr int kRadius = 4;
constexpr int kTaps = 2 * kRadius + 1;

constexpr int kTile = 40;
constexpr int kTilesAcross = kWidth / kTile;
constexpr int kTilePixels = kTile * kTile;

constexpr int kBins = 64;
constexpr int kPixelsPerThread = 4;

static_assert(kWidth % kTile == 0 && kHeight % kTile == 0, "tiles cover the frame");
static_assert(kPixels % (kThreads * kPixelsPerThread) == 0, "histogram blocks have no remainder");

__device__ int clampTo(int value, int last) {
  return value < 0 ? 0 : (value > last ? last : value);
}

/**
 * Normalised excess green, (2G - R - B) / (R + G + B), from -1 to 2; grey and black have 0.
 *
 * frame: u8 [360, 640, 3] RGB. index: f32 [360, 640]. Grid 900, block 256: a thread is a pixel.
 */
extern "C" __global__ void vegetation_index(const unsigned char* __restrict__ frame, float* __restrict__ index) {
  const int at = blockIdx.x * kThreads + threadIdx.x;
  if (at >= kPixels) return;
  const int r = frame[3 * at];
  const int g = frame[3 * at + 1];
  const int b = frame[3 * at + 2];
  const int sum = r + g + b;
  // Black has a numerator of 0 as well.
  index[at] = static_cast<float>(2 * g - r - b) / static_cast<float>(sum > 0 ? sum : 1);
}

/**
 * One smoothing along the rows; beyond the border the outermost pixel goes on.
 *
 * taps: f32 [9]. from, to: f32 [360, 640]. Grid (3, 360), block 256: a block is 256 pixels of a row, the last one of a
 * row 128.
 */
extern "C" __global__ void smooth_rows(
    const float* __restrict__ taps, const float* __restrict__ from, float* __restrict__ to) {
  __shared__ float window[kThreads + 2 * kRadius];
  const int left = blockIdx.x * kThreads;
  const int row = blockIdx.y * kWidth;
  for (int i = threadIdx.x; i < kThreads + 2 * kRadius; i += kThreads) {
    window[i] = from[row + clampTo(left + i - kRadius, kWidth - 1)];
  }
  __syncthreads();
  const int x = left + threadIdx.x;
  if (x < kWidth) {
    float sum = 0.0f;
    for (int k = 0; k < kTaps; k++) sum += taps[k] * window[threadIdx.x + k];
    to[row + x] = sum;
  }
}

/** The same along the columns. Grid 900, block 256: a thread is a pixel, and neighbours share their loads. */
extern "C" __global__ void smooth_columns(
    const float* __restrict__ taps, const float* __restrict__ from, float* __restrict__ to) {
  const int at = blockIdx.x * kThreads + threadIdx.x;
  if (at >= kPixels) return;
  const int y = at / kWidth;
  const int x = at - y * kWidth;
  float sum = 0.0f;
  for (int k = 0; k < kTaps; k++) {
    sum += taps[k] * from[clampTo(y + k - kRadius, kHeight - 1) * kWidth + x];
  }
  to[at] = sum;
}

/**
 * Counts pixels by index: 64 bins of 1/64 from -0.25 to 0.75; the first and the last take what is beyond.
 *
 * index: f32 [360, 640]. bins: u32 [64], zero before the step. Grid 225, block 256: a thread counts 4 pixels.
 */
extern "C" __global__ void count_index(const float* __restrict__ index, unsigned* __restrict__ bins) {
  __shared__ unsigned counts[kBins];
  if (threadIdx.x < kBins) counts[threadIdx.x] = 0;
  __syncthreads();
  const int first = blockIdx.x * kThreads * kPixelsPerThread + threadIdx.x;
  for (int i = 0; i < kPixelsPerThread; i++) {
    // Multiplying by 64 is exact, and cutting off equals rounding down once negatives are in the first bin anyway.
    const int bin = static_cast<int>((index[first + i * kThreads] + 0.25f) * static_cast<float>(kBins));
    atomicAdd(&counts[clampTo(bin, kBins - 1)], 1u);
  }
  __syncthreads();
  if (threadIdx.x < kBins && counts[threadIdx.x] != 0) atomicAdd(&bins[threadIdx.x], counts[threadIdx.x]);
}

/** Sum of all threads' values, pairwise in the same order always. All threads get it, and all must come. */
__device__ float sumOfBlock(float value, float* shared) {
  shared[threadIdx.x] = value;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  const float sum = shared[0];
  // The next reduction overwrites what the slowest thread still has to read.
  __syncthreads();
  return sum;
}

__device__ float maxOfBlock(float value, float* shared) {
  shared[threadIdx.x] = value;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) {
      const float other = shared[threadIdx.x + half];
      if (other > shared[threadIdx.x]) shared[threadIdx.x] = other;
    }
    __syncthreads();
  }
  const float largest = shared[0];
  __syncthreads();
  return largest;
}

/**
 * Per tile: mean index, share of pixels above the threshold (0 to 1), variance, largest index.
 *
 * index: f32 [360, 640]. tiles: f32 [9, 16, 4]. Grid (16, 9), block 256: a block is a tile of 40 x 40 pixels, a thread takes
 * every 256th of its 1600 pixels.
 */
extern "C" __global__ void tile_statistics(
    const float* __restrict__ index, float threshold, float* __restrict__ tiles) {
  __shared__ float shared[kThreads];
  const float* corner = index + blockIdx.y * kTile * kWidth + blockIdx.x * kTile;

  float sum = 0.0f;
  float above = 0.0f;
  float largest = -1.0f;
  for (int i = threadIdx.x; i < kTilePixels; i += kThreads) {
    const float value = corner[i / kTile * kWidth + i % kTile];
    sum += value;
    if (value > threshold) above += 1.0f;
    if (value > largest) largest = value;
  }
  const float mean = sumOfBlock(sum, shared) / static_cast<float>(kTilePixels);
  const float fraction = sumOfBlock(above, shared) / static_cast<float>(kTilePixels);
  largest = maxOfBlock(largest, shared);

  // A second pass: the difference of two large sums would lose the digits of a small variance.
  float squares = 0.0f;
  for (int i = threadIdx.x; i < kTilePixels; i += kThreads) {
    const float off = corner[i / kTile * kWidth + i % kTile] - mean;
    squares += off * off;
  }
  const float variance = sumOfBlock(squares, shared) / static_cast<float>(kTilePixels);

  if (threadIdx.x == 0) {
    float* tile = tiles + (blockIdx.y * kTilesAcross + blockIdx.x) * 4;
    tile[0] = mean;
    tile[1] = fraction;
    tile[2] = variance;
    tile[3] = largest;
  }
}
