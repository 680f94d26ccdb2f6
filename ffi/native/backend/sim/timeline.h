// What happens next on the virtual GPU? Timers in order of time, then of their setting.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/scheduler.h"

namespace calypte::sim {

enum class TimerKind : uint8_t {
  critical_op,     // id: task; the oldest operation in its stream
  critical_start,  // id: task
  critical_end,    // tag: generation of the sharing
  critical_out,    // id: task; its output has reached the host
  entry_start,     // tag: generation of the stream, as in the next three
  step_end,
  leave,
  entry_end,
  stage,   // id: job; look again whether an input can be staged
  staged,  // id: job
  result,  // id: job, tag: unit; its output has reached the host
  report,  // the oldest completion of an entry that is late reaches the host
  arrive,  // id: task; a replayed request of it
  sample,
};

struct Timer {
  uint64_t time_ns = 0;
  uint64_t order = 0;
  TimerKind kind = TimerKind::sample;
  uint32_t id = 0;
  uint64_t tag = 0;
};

class Timeline {
 public:
  Timeline() { heap_.reserve(256); }

  // One timer stands beside the heap: most are set for what comes next, and are taken at once.
  void set(TimerKind kind, uint64_t time_ns, uint32_t id = 0, uint64_t tag = 0) {
    Timer timer{time_ns, order_++, kind, id, tag};
    if (!some_) {
      first_ = timer;
      some_ = true;
      return;
    }
    if (later(first_, timer)) std::swap(first_, timer);
    heap_.push_back(timer);
    std::push_heap(heap_.begin(), heap_.end(), later);
  }

  uint64_t next_ns() const {
    const uint64_t heap_ns = heap_.empty() ? core::kNever : heap_.front().time_ns;
    return some_ && first_.time_ns < heap_ns ? first_.time_ns : heap_ns;
  }

  Timer take() {
    if (some_ && (heap_.empty() || !later(first_, heap_.front()))) {
      some_ = false;
      return first_;
    }
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const Timer timer = heap_.back();
    heap_.pop_back();
    return timer;
  }

 private:
  static bool later(const Timer &a, const Timer &b) {
    return a.time_ns != b.time_ns ? a.time_ns > b.time_ns : a.order > b.order;
  }

  std::vector<Timer> heap_;
  Timer first_;  // while `some_`
  bool some_ = false;
  uint64_t order_ = 0;
};

}  // namespace calypte::sim
