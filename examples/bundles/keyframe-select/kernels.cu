/**
 * Which frames are worth keeping? A frame is sharp or blurred, and shows more or less of what the last kept one
 * showed. One 640 x 360 frame in, a verdict of 8 numbers out; the last keyframe stays in state buffers.
 *
 * All sums are of integers, so their order cannot be seen; the few float operations are single + - * / that
 * reference.ts repeats bit for bit (--fmad=false). No block reads what another block of the same step
 * writes: the search only reads the keyframe, one block decides, and the keyframe is stored by a later step. The
 * counters are read here and committed by a copy step, so no kernel both reads and writes them.
 *
 * Shapes are fixed here and in source.ts; every buffer is row-major, without padding.
 */

constexpr int kWidth = 640;
constexpr int kSmallWidth = 320;
constexpr int kSmallHeight = 180;
constexpr int kSmallPixels = kSmallWidth * kSmallHeight;
constexpr int kThreads = 256;

/** Motion is searched per patch; the 4 rows below the last row of patches are left out. */
constexpr int kPatch = 16;
constexpr int kPatchesAcross = kSmallWidth / kPatch;
constexpr int kPatchesDown = kSmallHeight / kPatch;
constexpr int kPatches = kPatchesAcross * kPatchesDown;
constexpr int kReach = 8;
constexpr int kSteps = 2 * kReach + 1;
constexpr int kCandidates = kSteps * kSteps;
constexpr int kWindow = kPatch + 2 * kReach;
constexpr int kWordPixels = 4;
constexpr int kPatchWords = kPatch / kWordPixels;
constexpr int kWindowWords = kWindow / kWordPixels;

/** A candidate packed so that the smallest is the best: difference, then distance, then number. */
constexpr int kDistanceShift = 9;
constexpr int kDifferenceShift = 14;

constexpr int kInnerRows = kSmallHeight - 2;
constexpr int kInnerPixels = kInnerRows * (kSmallWidth - 2);

static_assert(kPatch * kPatch == kThreads, "a thread loads one pixel of a patch");
static_assert(kPatches <= kThreads && kInnerRows <= kThreads, "one thread each in `decide`");
static_assert(kCandidates <= 1 << kDistanceShift, "a candidate's number fits");
static_assert(2 * kReach < 1 << (kDifferenceShift - kDistanceShift), "a distance fits");
static_assert(kPatch * kPatch * 255 < 1 << (32 - kDifferenceShift), "a difference fits");

__device__ int clampTo(int value, int last) {
  return value < 0 ? 0 : (value > last ? last : value);
}

/**
 * Brightness at half the size: the rounded mean of 2 x 2 pixels, weights of BT.601 in 256ths.
 *
 * frame: u8 [360, 640, 3] RGB. luma: u8 [180, 320]. Grid 225, block 256: a thread is a small pixel.
 */
extern "C" __global__ void small_luma(const unsigned char* __restrict__ frame, unsigned char* __restrict__ luma) {
  const int at = blockIdx.x * kThreads + threadIdx.x;
  if (at >= kSmallPixels) return;
  const int y = at / kSmallWidth;
  const int x = at - y * kSmallWidth;
  const unsigned char* corner = frame + (2 * y * kWidth + 2 * x) * 3;
  int sum = 0;
  for (int i = 0; i < 4; i++) {
    const unsigned char* pixel = corner + ((i >> 1) * kWidth + (i & 1)) * 3;
    sum += 77 * pixel[0] + 150 * pixel[1] + 29 * pixel[2];
  }
  luma[at] = static_cast<unsigned char>((sum + 512) >> 10);
}

/** Sum of all threads' values. All threads get it, and all must come. */
template <typename T>
__device__ T sumOfBlock(T value, T* shared) {
  shared[threadIdx.x] = value;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  const T sum = shared[0];
  // The next reduction overwrites what the slowest thread still has to read.
  __syncthreads();
  return sum;
}

/**
 * Sum and sum of squares of the Laplacian (four neighbours minus four times the middle), per inner row.
 *
 * luma: u8 [180, 320]. rows: i32 [178, 2]. Grid 178, block 256: a block is one row, of which a thread takes every 256th
 * pixel. A row's squares sum to at most 318 * 1020^2 < 2^31.
 */
extern "C" __global__ void laplacian_rows(const unsigned char* __restrict__ luma, int* __restrict__ rows) {
  __shared__ int shared[kThreads];
  const unsigned char* row = luma + (blockIdx.x + 1) * kSmallWidth;
  int sum = 0;
  int squares = 0;
  for (int x = 1 + threadIdx.x; x < kSmallWidth - 1; x += kThreads) {
    const int edge = row[x - 1] + row[x + 1] + row[x - kSmallWidth] + row[x + kSmallWidth] - 4 * row[x];
    sum += edge;
    squares += edge * edge;
  }
  sum = sumOfBlock(sum, shared);
  squares = sumOfBlock(squares, shared);
  if (threadIdx.x == 0) {
    rows[2 * blockIdx.x] = sum;
    rows[2 * blockIdx.x + 1] = squares;
  }
}

/**
 * Where did each patch lie in the keyframe? Motion (mx, my), -8 to 8 each, means: the patch's pixel p was at p - m.
 *
 * luma, key: u8 [180, 320]. best: u32 [11, 20], packed: sum of absolute differences * 2^14 + (|mx| + |my|) * 2^9 +
 * (my + 8) * 17 + mx + 8. Beyond its border the keyframe goes on with its outermost pixels. Grid (20, 11), block 256: a
 * block is a patch, a thread tries every 256th of the 289 candidates.
 */
extern "C" __global__ void search_motion(
    const unsigned char* __restrict__ luma, const unsigned char* __restrict__ key, unsigned* __restrict__ best) {
  __shared__ unsigned patch[kPatch * kPatchWords];
  // A candidate at the right border takes nothing from the word behind its row, but does load it.
  __shared__ unsigned window[kWindow * kWindowWords + 1];
  __shared__ unsigned found[kThreads];
  unsigned char* patchPixels = reinterpret_cast<unsigned char*>(patch);
  unsigned char* windowPixels = reinterpret_cast<unsigned char*>(window);
  const int left = blockIdx.x * kPatch;
  const int top = blockIdx.y * kPatch;
  patchPixels[threadIdx.x] = luma[(top + threadIdx.x / kPatch) * kSmallWidth + left + threadIdx.x % kPatch];
  for (int i = threadIdx.x; i < kWindow * kWindow; i += kThreads) {
    const int y = clampTo(top - kReach + i / kWindow, kSmallHeight - 1);
    const int x = clampTo(left - kReach + i % kWindow, kSmallWidth - 1);
    windowPixels[i] = key[y * kSmallWidth + x];
  }
  if (threadIdx.x == 0) window[kWindow * kWindowWords] = 0;
  __syncthreads();

  unsigned mine = 0xffffffffu;
  for (int candidate = threadIdx.x; candidate < kCandidates; candidate += kThreads) {
    const int my = candidate / kSteps - kReach;
    const int mx = candidate % kSteps - kReach;
    // Four pixels at a time: two words of the window make one that begins at the candidate's pixel.
    const int start = kReach - mx;
    const int shift = 8 * (start % kWordPixels);
    const unsigned* there = window + (kReach - my) * kWindowWords + start / kWordPixels;
    unsigned difference = 0;
    for (int y = 0; y < kPatch; y++) {
      unsigned word = there[y * kWindowWords];
      for (int i = 0; i < kPatchWords; i++) {
        const unsigned nextWord = there[y * kWindowWords + i + 1];
        difference += __vsadu4(patch[y * kPatchWords + i], __funnelshift_r(word, nextWord, shift));
        word = nextWord;
      }
    }
    const unsigned packed = (difference << kDifferenceShift) +
                            (static_cast<unsigned>(abs(mx) + abs(my)) << kDistanceShift) +
                            static_cast<unsigned>(candidate);
    if (packed < mine) mine = packed;
  }

  found[threadIdx.x] = mine;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half && found[threadIdx.x + half] < found[threadIdx.x]) {
      found[threadIdx.x] = found[threadIdx.x + half];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) best[blockIdx.y * kPatchesAcross + blockIdx.x] = found[0];
}

/**
 * Is the frame a keyframe? The first is; then each whose change exceeds `changeLimit` if it is sharp enough, and
 * each that comes `longestGap` frames after the last.
 *
 * change = mean absolute difference after motion (grey levels) + motionWeight * (|mean mx| + |mean my|) (small pixels).
 *
 * rows: i32 [178, 2]. best: u32 [11, 20]. counters: u32 [4] {keyframes so far, frames since the last, -, -}. next: u32 [4]
 * {keyframes, frames since, 1 for a keyframe, -}. verdict: f32 [8] {sharpness, change, 1 for a keyframe, mean mx, mean my,
 * keyframes so far, frames since, 0}; its last element is not written. One block of 256: it alone joins the sums.
 */
extern "C" __global__ void decide(
    const int* __restrict__ rows, const unsigned* __restrict__ best, const unsigned* __restrict__ counters,
    float changeLimit, float motionWeight, float sharpLimit, unsigned longestGap,
    unsigned* __restrict__ next, float* __restrict__ verdict) {
  __shared__ int shared[kThreads];
  __shared__ long long wide[kThreads];
  const bool hasRow = threadIdx.x < kInnerRows;
  const bool hasPatch = threadIdx.x < kPatches;
  const unsigned packed = hasPatch ? best[threadIdx.x] : 0u;
  const int candidate = static_cast<int>(packed & ((1u << kDistanceShift) - 1u));
  const long long edges = sumOfBlock<long long>(hasRow ? rows[2 * threadIdx.x] : 0, wide);
  const long long squares = sumOfBlock<long long>(hasRow ? rows[2 * threadIdx.x + 1] : 0, wide);
  const int difference = sumOfBlock<int>(static_cast<int>(packed >> kDifferenceShift), shared);
  const int motionX = sumOfBlock<int>(hasPatch ? candidate % kSteps - kReach : 0, shared);
  const int motionY = sumOfBlock<int>(hasPatch ? candidate / kSteps - kReach : 0, shared);
  if (threadIdx.x != 0) return;

  // n * squares and edges^2 stay below 2^53: exact here, and in the reference's doubles.
  const long long spread = kInnerPixels * squares - edges * edges;
  const float area = static_cast<float>(kInnerPixels);
  const float sharpness = static_cast<float>(spread) / area / area;

  const float residual = static_cast<float>(difference) / static_cast<float>(kPatches * kPatch * kPatch);
  const float meanX = static_cast<float>(motionX) / static_cast<float>(kPatches);
  const float meanY = static_cast<float>(motionY) / static_cast<float>(kPatches);
  const float change = residual + motionWeight * (fabsf(meanX) + fabsf(meanY));

  const unsigned gap = counters[1] + 1u;
  const bool isFirst = counters[0] == 0u;
  const bool isKey = isFirst || gap >= longestGap || (change > changeLimit && sharpness >= sharpLimit);
  next[0] = counters[0] + (isKey ? 1u : 0u);
  next[1] = isKey ? 0u : gap;
  next[2] = isKey ? 1u : 0u;
  next[3] = 0u;

  verdict[0] = sharpness;
  verdict[1] = change;
  verdict[2] = isKey ? 1.0f : 0.0f;
  verdict[3] = meanX;
  verdict[4] = meanY;
  verdict[5] = static_cast<float>(next[0]);
  verdict[6] = static_cast<float>(next[1]);
}

/**
 * Keeps the small frame as the new keyframe if `decide` said so; otherwise nothing is written.
 *
 * next: u32 [4] from `decide`. luma, key: u8 [180, 320], moved as words of 4 pixels. Grid 57, block 256: a thread moves
 * a word.
 */
extern "C" __global__ void store_keyframe(
    const unsigned* __restrict__ next, const unsigned* __restrict__ luma, unsigned* __restrict__ key) {
  const int at = blockIdx.x * kThreads + threadIdx.x;
  if (at < kSmallPixels / 4 && next[2] != 0u) key[at] = luma[at];
}
