// When will the next request come? Learned from arrivals alone, for tasks whose source is not ours.
//
// A sensor has a period: it is found as the median of the first intervals, then followed like a clock (a loop that
// corrects phase and period by a part of each error), over gaps where an arrival stayed away. What has no period may
// still have a habit, such as three requests 1 ms apart: for those the distribution of intervals gives the hazard, the
// chance that a request which has not come yet comes now. No clock, no allocation.
#pragma once

#include <array>
#include <cstdint>

#include "core/sketch.h"

namespace calypte::core {

// A span of time in which a request is worth waiting for. begin_ns == end_ns == UINT64_MAX: there is none.
struct Window {
  uint64_t begin_ns = UINT64_MAX;
  uint64_t end_ns = UINT64_MAX;
  bool known() const { return begin_ns != UINT64_MAX; }
};

class Rhythm {
 public:
  // What outlives an engine. When arrivals come is not part of it, only how they follow each other.
  struct Memory {
    uint64_t period_ns = 0;  // 0: none
    Sketch errors;
    Sketch intervals;
  };

  void arrived(uint64_t at_ns);

  // Before the first arrival. A period is believed as soon as one interval agrees with it.
  void recall(const Memory &memory);
  uint64_t learned_period_ns() const { return locked_ ? period_ns_ : remembered_ns_; }
  // The two of Memory, errors first.
  const Sketch &sketch(uint32_t index) const { return index == 0 ? errors_ : intervals_; }

  bool regular() const { return locked_; }
  uint64_t period_ns() const { return locked_ ? period_ns_ : 0; }
  // 99 % of arrivals lay at most this far from where they were expected.
  uint64_t jitter_ns() const { return locked_ ? errors_.quantile(990) : 0; }
  // The first expected arrival at `now_ns` or later, if it is regular.
  uint64_t next_ns(uint64_t now_ns) const;

  // When to wait for the next arrival, no earlier than `now_ns`, if waiting `w` costs w and an arrival that was awaited
  // is worth `worth_ns`.
  Window next_window(uint64_t now_ns, uint64_t worth_ns) const;

 private:
  static constexpr uint32_t kFirstIntervals = 8;
  static constexpr uint32_t kLeastForHazard = 64;

  void acquire(uint64_t interval_ns);
  void follow(uint64_t at_ns);

  uint64_t last_ns_ = 0;
  bool begun_ = false;
  bool locked_ = false;
  uint32_t strays_ = 0;    // weight of recent arrivals that did not fit the period
  uint64_t phase_ns_ = 0;  // where the last arrival should have been
  uint64_t period_ns_ = 0;
  std::array<uint64_t, kFirstIntervals> first_{};
  uint32_t first_count_ = 0;
  uint64_t remembered_ns_ = 0;  // a period from before, until an interval has agreed or not
  Sketch errors_;               // distance of arrivals from where they were expected
  Sketch intervals_;
};

}  // namespace calypte::core
