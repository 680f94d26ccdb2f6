// When did this machine stand still? A test in real time that asks for no miss at all asks it of the engine, not of
// whoever else has the processors: another guest of the same host may take all of them for a tenth of a second.
#pragma once

#include <poll.h>
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "calypte.h"

namespace calypte::test {

// Watches from its construction on, in a thread of its own that wakes each millisecond, ahead of the engine's where the
// machine allows that. Not for virtual time.
class StandStills {
 public:
  // Of a periodic task: how many of its requests may be missed for them. One that meets a stand-still is held up by
  // its length; those that were due meanwhile come at once, and the queue behind them.
  StandStills(uint64_t period_ns, uint64_t deadline_ns) : period_ns_(period_ns), deadline_ns_(deadline_ns) {
    thread_ = std::thread([this] { watch(); });
  }
  ~StandStills() {
    ended_ = true;
    thread_.join();
  }
  StandStills(const StandStills &) = delete;
  StandStills &operator=(const StandStills &) = delete;
  uint64_t excused() const { return excused_; }

 private:
  static constexpr int kLookMs = 1;

  void watch() {
    sched_param first{};
    first.sched_priority = sched_get_priority_max(SCHED_FIFO);
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);  // refused to most users, who have it less exact
    uint64_t last_ns = calypte_now_ns();
    while (!ended_) {
      poll(nullptr, 0, kLookMs);
      const uint64_t now_ns = calypte_now_ns();
      const uint64_t still_ns = now_ns - last_ns;
      last_ns = now_ns;
      // A shorter one leaves time enough before the deadline.
      if (still_ns > deadline_ns_ / 4) excused_ += (still_ns + deadline_ns_) / period_ns_ + 2;
    }
  }

  uint64_t period_ns_, deadline_ns_;
  std::atomic<uint64_t> excused_{0};
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace calypte::test
