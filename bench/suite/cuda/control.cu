// What compilers do with control and locals: calls, a table of branches, arrays in local memory, long loops.
// Rebuild: deno run -A bench/suite/cuda/build.ts

static __device__ __noinline__ float settled(float x, int *steps) {
  float y = x;
  for (int i = 0; i < 24; ++i) {
    const float next = 0.5f * (y + x / y);
    if (fabsf(next - y) < 1e-6f * y) break;
    y = next;
    *steps += 1;
  }
  return y;
}

static __device__ __noinline__ float twice_settled(float x, int *steps) { return settled(settled(x, steps), steps); }

extern "C" __global__ void calls(const float *in, float *out, int *steps, unsigned count) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  int taken = 0;
  float sum = 0;
  for (int k = 1; k < 6; ++k) sum += twice_settled(in[i] + static_cast<float>(k), &taken);
  out[i] = sum;
  steps[i] = taken;
}

// A small machine whose program is in the data; threads of a warp go different ways.
extern "C" __global__ void machine(const unsigned *in, unsigned *out, unsigned rounds) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned x = in[i], y = i;
#pragma unroll 1
  for (unsigned r = 0; r < rounds; ++r) {
    switch (x % 12u) {
      case 0:
        y += x;
        x = x * 3u + 1u;
        break;
      case 1:
        x ^= x >> 7;
        y = y * y + 3u;
        break;
      case 2:
        x = __brev(x) + y;
        break;
      case 3:
        y = __popc(x) * y + 1u;
        x += 5u;
        break;
      case 4:
        x = x / 7u + y;
        y = y << 3;
        break;
      case 5:
        y ^= 0x9e3779b9u;
        x = x + y * y;
        break;
      case 6:
        x = __clz(x) + x * 17u;
        break;
      case 7:
        y = y % 1000003u;
        x = x - (x << 4);
        break;
      case 8:
        x = (x << 5 | x >> 27) + 1u;
        break;
      case 9:
        y = y - x;
        x = x ^ y;
        break;
      case 10:
        x = x * x + 0x7f4a7c15u;
        break;
      default:
        y = y >> 1;
        x = x + 0x1234567u;
        break;
    }
  }
  out[i] = x ^ y;
}

static __device__ __forceinline__ void step_by_table(unsigned &x, unsigned &y) {
  asm volatile(
      "{\n"
      " .reg .u32 %%case;\n"
      " and.b32 %%case, %0, 3;\n"
      "TABLE: .branchtargets CASE0, CASE1, CASE2, CASE3;\n"
      " brx.idx %%case, TABLE;\n"
      "CASE0: add.u32 %1, %1, %0; mad.lo.u32 %0, %0, 3, 1; bra DONE;\n"
      "CASE1: shr.u32 %%case, %0, 7; xor.b32 %0, %0, %%case; add.u32 %0, %0, %1; bra DONE;\n"
      "CASE2: brev.b32 %0, %0; add.u32 %0, %0, %1; bra DONE;\n"
      "CASE3: xor.b32 %1, %1, 0x9e3779b9; mad.lo.u32 %0, %1, %1, %0;\n"
      "DONE:\n"
      "}"
      : "+r"(x), "+r"(y));
}

// The same idea with a table of branches (brx.idx), which this nvcc does not make of a switch by itself.
extern "C" __global__ void branch_table(const unsigned *in, unsigned *out, unsigned rounds) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned x = in[i], y = i;
#pragma unroll 1
  for (unsigned r = 0; r < rounds; ++r) step_by_table(x, y);
  out[i] = x ^ y;
}

// A permutation in local memory, indexed by the data: 256 bytes of stack to a thread.
extern "C" __global__ void local_array(const unsigned *in, unsigned *out, unsigned rounds) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned slots[64], x = in[i];
  for (unsigned k = 0; k < 64; ++k) slots[k] = k * 2654435761u;
#pragma unroll 1
  for (unsigned r = 0; r < rounds; ++r) {
    const unsigned p = x % 64u, q = (x >> 8) % 64u;
    const unsigned kept = slots[p];
    slots[p] = slots[q] + r;
    slots[q] = kept;
    x = x * 1664525u + slots[p];
    x ^= x >> 11;
  }
  out[i] = x;
}

// A chain of multiplications and additions without a barrier: `rounds` sets how long a block lasts.
extern "C" __global__ void fma_chain(const float *in, float *out, unsigned rounds) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  float x = in[i];
#pragma unroll 16
  for (unsigned r = 0; r < rounds; ++r) x = fmaf(x, 0.99993f, 0.00031f);
  out[i] = x;
}
