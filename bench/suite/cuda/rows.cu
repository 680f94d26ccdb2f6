// Kernels with a block to a row: softmax, layer norm, a sort. Rebuild: deno run -A bench/suite/cuda/build.ts

// `scratch` holds one value for each warp; all threads of the block call.
template <typename Combine>
static __device__ __forceinline__ float combined(float value, float *scratch, Combine combine) {
  for (unsigned d = 16; d > 0; d >>= 1) value = combine(value, __shfl_xor_sync(0xffffffffu, value, d));
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  value = scratch[0];
  for (unsigned i = 1; i < blockDim.x / 32; ++i) value = combine(value, scratch[i]);
  return value;
}

static __device__ __forceinline__ float added(float value, float *scratch) {
  return combined(value, scratch, [](float x, float y) { return x + y; });
}

extern "C" __global__ void softmax(const float *in, float *out, unsigned width) {
  __shared__ float scratch[32];
  const float *row = in + blockIdx.x * width;
  float most = -INFINITY, sum = 0;
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x) most = fmaxf(most, row[i]);
  most = combined(most, scratch, [](float x, float y) { return fmaxf(x, y); });
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x) sum += expf(row[i] - most);
  sum = added(sum, scratch);
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x) out[blockIdx.x * width + i] = expf(row[i] - most) / sum;
}

extern "C" __global__ void layer_norm(const float *in, const float *scale, const float *shift, float *out,
                                      unsigned width, float epsilon) {
  extern __shared__ float row[];
  __shared__ float scratch[32];
  float sum = 0, squares = 0;
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x) sum += row[i] = in[blockIdx.x * width + i];
  const float mean = added(sum, scratch) / width;
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x) squares += (row[i] - mean) * (row[i] - mean);
  const float factor = rsqrtf(added(squares, scratch) / width + epsilon);
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x)
    out[blockIdx.x * width + i] = (row[i] - mean) * factor * scale[i] + shift[i];
}

// Bitonic, 2048 keys to a block of 512 threads.
extern "C" __global__ void sort_rows(const unsigned *in, unsigned *out) {
  __shared__ unsigned keys[2048];
  for (unsigned i = threadIdx.x; i < 2048; i += 512) keys[i] = in[blockIdx.x * 2048 + i];
  __syncthreads();
  for (unsigned size = 2; size <= 2048; size <<= 1) {
    for (unsigned stride = size >> 1; stride > 0; stride >>= 1) {
      for (unsigned p = threadIdx.x; p < 1024; p += 512) {
        const unsigned i = 2 * p - (p & (stride - 1)), j = i + stride;
        const unsigned low = keys[i], high = keys[j];
        if ((low > high) == ((i & size) == 0)) {
          keys[i] = high;
          keys[j] = low;
        }
      }
      __syncthreads();
    }
  }
  for (unsigned i = threadIdx.x; i < 2048; i += 512) out[blockIdx.x * 2048 + i] = keys[i];
}
