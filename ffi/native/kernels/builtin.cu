/*
 * builtin.cu - the kernels that stand in for copies and memsets.
 *
 * A copy or memset that waits in a stream knows nothing of the gate and of whose turn it is (docs/PREEMPTION.md), so
 * inside a background job each of them is a kernel that the checkpoint compiler rewrites like any other. Inside a
 * critical task the same kernels run as they are.
 *
 * Every kernel moves CHUNK_BYTES per block of 256 threads: a grid of ceil(bytes / CHUNK_BYTES) blocks covers it
 * (agent/builtin.ts launches them so). No shared memory, no barrier, no atomic: each block writes a range of its own
 * and reads nothing that another block writes, so it may be run, left and run again at will.
 *
 * To compile: see the first line of builtin.ptx, which is kept beside this file and loaded as text.
 */
#include <cstdint>

namespace {

constexpr uint64_t CHUNK_BYTES = 16 * 1024;
constexpr unsigned THREADS = 256;
constexpr unsigned VECTOR_BYTES = 16;
constexpr unsigned STRIDE_BYTES = THREADS * VECTOR_BYTES;
/* Offset of step_word in the control block; its upper 48 bits are the unit. */
constexpr uint64_t CONTROL_STEP_WORD = 16;
constexpr unsigned UNIT_SHIFT = 16;

static_assert(CHUNK_BYTES % STRIDE_BYTES == 0, "a full chunk is a whole number of vectors per thread");

struct Chunk {
  uint64_t begin;
  uint64_t end;
};

__device__ __forceinline__ Chunk chunk_of(uint64_t bytes) {
  const uint64_t begin = uint64_t(blockIdx.x) * CHUNK_BYTES;
  const uint64_t rest = begin < bytes ? bytes - begin : 0;
  return {begin, begin + (rest < CHUNK_BYTES ? rest : CHUNK_BYTES)};
}

__device__ __forceinline__ void copy_chunk(uint64_t dst, uint64_t src, uint64_t bytes) {
  const Chunk chunk = chunk_of(bytes);
  uint64_t at = chunk.begin;
  if (((dst | src) & (VECTOR_BYTES - 1)) == 0) {
    const uint64_t vectors_end = chunk.begin + ((chunk.end - chunk.begin) & ~uint64_t(VECTOR_BYTES - 1));
    uint64_t i = at + threadIdx.x * VECTOR_BYTES;
    /* All loads ahead of the first store: a compiler that cannot tell `dst` from `src` would wait for the bus at each of them. */
#pragma unroll 1
    for (; i + 3 * STRIDE_BYTES < vectors_end; i += 4 * STRIDE_BYTES) {
      uint4 vectors[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) vectors[k] = *reinterpret_cast<const uint4*>(src + i + k * STRIDE_BYTES);
#pragma unroll
      for (int k = 0; k < 4; ++k) *reinterpret_cast<uint4*>(dst + i + k * STRIDE_BYTES) = vectors[k];
    }
#pragma unroll 1
    for (; i < vectors_end; i += STRIDE_BYTES) {
      *reinterpret_cast<uint4*>(dst + i) = *reinterpret_cast<const uint4*>(src + i);
    }
    at = vectors_end;
  }
  for (uint64_t i = at + threadIdx.x; i < chunk.end; i += THREADS) {
    *reinterpret_cast<uint8_t*>(dst + i) = *reinterpret_cast<const uint8_t*>(src + i);
  }
}

/* The slot of the unit under way: table[unit % slot_count]. The unit cannot change while one of its steps runs. */
__device__ __forceinline__ uint64_t slot_of(uint64_t table, uint64_t control, uint32_t slot_count) {
  const uint64_t unit = *reinterpret_cast<const volatile uint64_t*>(control + CONTROL_STEP_WORD) >> UNIT_SHIFT;
  return reinterpret_cast<const uint64_t*>(table)[unit % slot_count];
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) calypte_copy(uint64_t dst, uint64_t src, uint64_t bytes) {
  copy_chunk(dst, src, bytes);
}

extern "C" __global__ void __launch_bounds__(256) calypte_fill(uint64_t dst, uint32_t value_byte, uint64_t bytes) {
  const Chunk chunk = chunk_of(bytes);
  const uint32_t word = (value_byte & 0xffu) * 0x01010101u;
  uint64_t at = chunk.begin;
  if ((dst & (VECTOR_BYTES - 1)) == 0) {
    const uint64_t vectors_end = chunk.begin + ((chunk.end - chunk.begin) & ~uint64_t(VECTOR_BYTES - 1));
#pragma unroll 4
    for (uint64_t i = at + threadIdx.x * VECTOR_BYTES; i < vectors_end; i += STRIDE_BYTES) {
      *reinterpret_cast<uint4*>(dst + i) = make_uint4(word, word, word, word);
    }
    at = vectors_end;
  }
  for (uint64_t i = at + threadIdx.x; i < chunk.end; i += THREADS) {
    *reinterpret_cast<uint8_t*>(dst + i) = uint8_t(word);
  }
}

/* Input slot of this unit, from `offset`, to `dst`. */
extern "C" __global__ void __launch_bounds__(256) calypte_upload(uint64_t dst, uint64_t slots_table, uint64_t offset,
                                                                  uint64_t bytes, uint64_t control,
                                                                  uint32_t slot_count) {
  copy_chunk(dst, slot_of(slots_table, control, slot_count) + offset, bytes);
}

/* `src` to the output slot of this unit, at `offset`. */
extern "C" __global__ void __launch_bounds__(256) calypte_download(uint64_t src, uint64_t slots_table, uint64_t offset,
                                                                    uint64_t bytes, uint64_t control,
                                                                    uint32_t slot_count) {
  copy_chunk(slot_of(slots_table, control, slot_count) + offset, src, bytes);
}
