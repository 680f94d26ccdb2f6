// Which units of a job have their input ready? As with the CUDA backend, at most eight units lie between the staging of
// the input and the arrival of the output in host memory.
//
// `submitted` and `collected` are the only words that the caller's thread and the dispatcher share.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "engine/work.h"

namespace calypte::sim {

inline constexpr uint64_t kSlots = 8;

// The input of one unit.
struct UnitInput {
  uint64_t sensor_ns = 0;
  uint64_t arrival_ns = 0;
};

struct JobStaging {
  uint32_t source = CALYPTE_SOURCE_NONE;
  uint64_t period_ns = 0;
  uint64_t input_copy_ns = 0;
  uint64_t output_copy_ns = 0;
  uint64_t kept_bytes = 0;  // payload of one result
  uint32_t frame_count = 0;

  uint64_t due_ns = 0;  // nominal time of the next input
  uint64_t staged = 0;
  bool staging = false;
  bool retry_set = false;
  std::array<UnitInput, 2 * kSlots> inputs{};

  std::atomic<uint64_t> submitted{0};  // API: by the caller's thread
  std::atomic<uint64_t> collected{0};  // results put into the store: by the dispatcher
  std::array<std::atomic<uint64_t>, 2 * kSlots> sensors_ns{};
  uint64_t seen = 0;  // of `submitted`, by the dispatcher

  UnitInput &input(uint64_t unit) { return inputs[unit % inputs.size()]; }
  uint64_t open_units() const { return staged + (staging ? 1 : 0) - collected.load(std::memory_order_relaxed); }
  bool unseen() const { return source == CALYPTE_SOURCE_API && submitted.load(std::memory_order_acquire) != seen; }
};

// The free input slots of a critical task whose requests others send: each holds number + 1.
struct TaskSlots {
  static constexpr uint32_t kSpare = 2;  // beside those that wait: one in flight, one that is being filled
  uint32_t count = 0;
  std::array<std::atomic<uint64_t>, 16 + kSpare> held{};

  bool take(uint64_t number) {
    for (uint32_t i = 0; i < count; ++i) {
      uint64_t free = 0;
      if (held[i].compare_exchange_strong(free, number + 1)) return true;
    }
    return false;
  }
  void release(uint64_t number) {
    for (uint32_t i = 0; i < count; ++i) {
      uint64_t mine = number + 1;
      if (held[i].compare_exchange_strong(mine, 0)) return;
    }
  }
};

}  // namespace calypte::sim
