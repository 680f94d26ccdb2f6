// What does a launch consist of while it runs? Warps of 32 lanes in blocks, blocks in clusters, and the memory that
// they see.
#pragma once

#include <array>
#include <bit>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "ptx/program.h"
#include "ptx/ptx.h"

namespace cuda_on_cpu {

struct Block;

// Lanes of a warp that are at the same instruction.
struct Split {
  enum class State : uint8_t { ready, meeting, at_barrier };
  uint32_t pc, lanes;
  State state = State::ready;
  uint8_t barrier = 0;
  uint64_t ran = 0;  // when it last ran, in turns of its warp
};

struct Barrier {
  uint32_t arrived = 0;         // threads
  uint32_t expected = 0;        // threads; 0: all that are alive
  uint32_t yes = 0, votes = 0;  // of a reducing barrier
};

struct Cluster {
  std::array<uint32_t, 3> shape{1, 1, 1};
  std::vector<Block *> blocks;  // by rank
  uint32_t alive = 0, arrived = 0;
  uint64_t phase = 0;
};

struct MBarrier {
  uint32_t expected = 0;
  int64_t pending = 0, bytes = 0;
  uint64_t phase = 0;
};

struct Run;

struct Warp {
  uint8_t *rows = nullptr;
  Block *block = nullptr;
  const Program *program = nullptr;
  Run *run = nullptr;
  uint32_t live = 0;          // lanes that have not exited
  uint32_t first_thread = 0;  // its number in the block
  // The split that runs; the others are in `splits`.
  uint32_t pc = 0, lanes = 0;
  std::vector<Split> splits;
  uint64_t turns = 0;
  // Polling: what was read last, and whether anything else happened since.
  std::array<uint64_t, 4> polled_addresses{};
  uint32_t next_polled = 0;
  bool polled = false, progressed = false;
  // Flow::wait: at which barrier, and whether the lanes stay there at all (bar.arrive does not).
  uint32_t waits_at = 0;
  bool waits = true;
  uint64_t cluster_phase = 0;
  Ended ended = Ended::done;
  std::string why;

  template <class T>
  T *row(uint32_t place) const {
    return reinterpret_cast<T *>(rows + place);
  }
  uint32_t &predicate(uint32_t place) const { return *reinterpret_cast<uint32_t *>(rows + place); }
  Flow fail(Ended how, const Inst &at, const std::string &what);
  void poll(uint64_t address) {
    polled = true;
    for (uint64_t known : polled_addresses) {
      if (known == address) return;
    }
    progressed = true;
    polled_addresses[next_polled++ % 4] = address;
  }
};

struct Block {
  std::array<uint32_t, 3> index{};
  uint32_t rank = 0, slot = 0;
  Cluster *cluster = nullptr;
  std::vector<uint8_t> shared;
  std::vector<uint8_t> local;  // thread after thread
  std::vector<uint8_t> rows;
  std::vector<Warp> warps;
  uint32_t alive = 0;  // threads
  std::array<Barrier, 16> barriers{};
  std::unordered_map<uint32_t, MBarrier> mbarriers;  // by shared address
};

// What all warps of a launch share.
struct Run {
  const Launch *launch = nullptr;
  const Machine *machine = nullptr;
  const Program *program = nullptr;
  std::vector<uint8_t> parameters;
  std::array<uint32_t, 3> cluster{1, 1, 1};
  uint32_t shared_bytes = 0;  // static and dynamic
  uint64_t grid_id = 0;
  // Chunks of 512 bytes that the kernel is known to be allowed to touch: allocations are multiples of that.
  static constexpr uint32_t kChunkShift = 9, kChunks = 4096;
  std::vector<uint64_t> chunks = std::vector<uint64_t>(kChunks, ~uint64_t{0});

  bool may_touch(uint64_t address, uint32_t bytes) {
    uint64_t chunk = address >> kChunkShift;
    if (chunks[chunk % kChunks] == chunk && (address + bytes - 1) >> kChunkShift == chunk) return true;
    return ask(address, bytes);
  }
  bool knows(uint64_t address) const { return chunks[(address >> kChunkShift) % kChunks] == address >> kChunkShift; }
  bool ask(uint64_t address, uint32_t bytes);
};

enum class Space : uint8_t { generic, global, shared, local, parameter };

// The host address behind an address of a lane, or null with the warp's fault set.
uint8_t *resolve_slowly(Warp &, const Inst &, Space, uint64_t address, uint32_t bytes, uint32_t lane);

template <Space S>
inline uint8_t *resolve(Warp &w, const Inst &i, uint64_t address, uint32_t bytes, uint32_t lane) {
  if constexpr (S == Space::global) {
    if ((address & (bytes - 1)) == 0 && w.run->may_touch(address, bytes)) [[likely]]
      return reinterpret_cast<uint8_t *>(address);
  } else if constexpr (S == Space::shared) {
    if ((address & (bytes - 1)) == 0 && address + bytes <= w.block->shared.size()) [[likely]]
      return w.block->shared.data() + address;
  }
  return resolve_slowly(w, i, S, address, bytes, lane);
}

// Calls f(lane) for each of the lanes; all 32 in a plain loop that the compiler can make wide.
template <class F>
[[gnu::always_inline]] inline void each_lane(uint32_t lanes, F f) {
  if (lanes == UINT32_MAX) {
#pragma GCC ivdep
    for (uint32_t l = 0; l < 32; l++) f(l);
  } else {
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) f(static_cast<uint32_t>(std::countr_zero(rest)));
  }
}

}  // namespace cuda_on_cpu
