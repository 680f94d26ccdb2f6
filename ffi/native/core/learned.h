// What did the scheduler learn that outlives it? Durations by clock key, and the rhythms of arrivals: plain data, so
// that it can be taken out of one scheduler and put into the next.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "calypte.h"
#include "core/rhythm.h"
#include "core/sketch.h"

namespace calypte::core {

struct SchedulerConfig;

// Clocks whose durations are remembered: a board has few power modes, and moves between two of them.
inline constexpr uint32_t kClockKeys = 4;

// Durations as learned at one clock key.
struct Learned {
  uint64_t key = 0;
  uint64_t used_ns = 0;                       // when it was last in force
  std::vector<Sketch> executions;             // by task: launch to completion
  std::vector<Sketch> drains;                 // by job: from closing the gate to the end of its entry
  Sketch starts;                              // from queueing on an empty stream to beginning, as far as can be told
  std::vector<std::vector<Sketch>> segments;  // by job and segment: GPU time, undisturbed

  void reserve(const SchedulerConfig &config);
  void forget();
  // All sketches in one order: starts, executions, drains, segments.
  uint32_t count() const;
  Sketch &at(uint32_t index);
  const Sketch &at(uint32_t index) const { return const_cast<Learned *>(this)->at(index); }
};

// What is remembered: the durations, the clock key in force first and then the most recent ones, and a rhythm for each
// task.
struct Memories {
  std::vector<Learned> durations;
  std::vector<Rhythm::Memory> rhythms;
};

// A piece of what a scheduler remembers, small enough to be copied between two steps.
struct MemoryPiece {
  static constexpr uint32_t kRoom = 48;

  struct Clocks {
    uint64_t key = 0;
    uint64_t used_ns = 0;
    bool known = false;
    bool in_force = false;
  };

  uint64_t changes = 0;  // of the clocks: pieces from before and after one do not belong together
  std::array<Clocks, kClockKeys> clocks{};
  std::array<uint64_t, CALYPTE_MAX_TASKS> period_ns{};
  uint32_t count = 0;
  std::array<Sketch, kRoom> sketches{};
};

}  // namespace calypte::core
