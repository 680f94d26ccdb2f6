// What happened that a person may want to know? Events wait here until the caller takes them.
// One producer (the dispatcher; before `ready` the caller), one consumer (the caller).
#pragma once

#include <cstring>
#include <string>

#include "calypte.h"
#include "engine/ring.h"

namespace calypte {

class EventLog {
 public:
  void add(uint32_t kind, uint32_t source, int64_t a, int64_t b, uint64_t now_ns, const std::string &text = {}) {
    if (lost_ > 0) {
      calypte_event gap = make(CALYPTE_EVENT_EVENTS_LOST, UINT32_MAX, static_cast<int64_t>(lost_), 0, now_ns, {});
      gap.sequence = sequence_ + lost_ + 1;
      if (!ring_.push(gap)) {
        lost_ += 1;
        lost_in_all_ += 1;
        return;
      }
      sequence_ = gap.sequence;
      lost_ = 0;
    }
    calypte_event event = make(kind, source, a, b, now_ns, text);
    event.sequence = sequence_ + 1;
    if (ring_.push(event)) {
      sequence_ += 1;
    } else {
      lost_ += 1;
      lost_in_all_ += 1;
    }
  }

  uint32_t take(calypte_event *out, uint32_t capacity) {
    uint32_t count = 0;
    while (count < capacity && ring_.pop(out[count])) count += 1;
    return count;
  }

  uint64_t lost() const { return lost_in_all_; }

 private:
  static calypte_event make(uint32_t kind, uint32_t source, int64_t a, int64_t b, uint64_t now_ns,
                            const std::string &text) {
    calypte_event event{};
    event.time_ns = now_ns;
    event.kind = kind;
    event.source = source;
    event.a = a;
    event.b = b;
    strncpy(event.text, text.c_str(), sizeof event.text - 1);
    return event;
  }

  Ring<calypte_event, 1024> ring_;
  uint64_t sequence_ = 0;
  uint64_t lost_ = 0;
  uint64_t lost_in_all_ = 0;
};

}  // namespace calypte
