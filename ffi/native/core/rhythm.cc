#include "core/rhythm.h"

#include <algorithm>

namespace calypte::core {
namespace {

// Intervals within this part of their median count as one period.
constexpr uint64_t kRegularPart = 8;
// An arrival further than this part of a period from its place does not fit. One that does not weighs as much as two
// that do, as with another period some fit by chance; with so much weight the lock ends.
constexpr uint64_t kStrayPart = 8;
constexpr uint32_t kStrayWeight = 2, kUnlockWeight = 6;
// Parts of the error by which phase and period are corrected: phase within about five arrivals, period within fifty, so
// that the jitter of single arrivals hardly moves it.
constexpr int64_t kPhaseGain = 5;
constexpr int64_t kPeriodGain = 50;

}  // namespace

void Rhythm::arrived(uint64_t at_ns) {
  if (!begun_) {
    begun_ = true;
    last_ns_ = at_ns;
    return;
  }
  const uint64_t interval_ns = at_ns - std::min(at_ns, last_ns_);
  intervals_.add(interval_ns);
  last_ns_ = at_ns;
  if (locked_)
    follow(at_ns);
  else
    acquire(interval_ns);
}

void Rhythm::recall(const Memory &memory) {
  remembered_ns_ = memory.period_ns;
  errors_ = memory.errors;
  intervals_ = memory.intervals;
}

// A sliding look at the last intervals: regular once all lie close to their median.
void Rhythm::acquire(uint64_t interval_ns) {
  if (remembered_ns_ > 0) {
    const uint64_t period_ns = remembered_ns_;
    const uint64_t off_ns = interval_ns > period_ns ? interval_ns - period_ns : period_ns - interval_ns;
    remembered_ns_ = 0;
    if (off_ns <= period_ns / kRegularPart) {
      locked_ = true;
      strays_ = 0;
      period_ns_ = period_ns;
      phase_ns_ = last_ns_;
      return;
    }
  }
  first_[first_count_++ % kFirstIntervals] = interval_ns;
  if (first_count_ < kFirstIntervals) return;
  std::array<uint64_t, kFirstIntervals> sorted = first_;
  std::sort(sorted.begin(), sorted.end());
  const uint64_t median_ns = sorted[kFirstIntervals / 2];
  if (median_ns == 0 || sorted.back() - sorted.front() > median_ns / kRegularPart) return;
  uint64_t sum_ns = 0;
  for (const uint64_t each_ns : first_) sum_ns += each_ns;
  locked_ = true;
  strays_ = 0;
  period_ns_ = sum_ns / kFirstIntervals;
  phase_ns_ = last_ns_;
  errors_ = {};
  for (const uint64_t each_ns : first_) errors_.add(each_ns > period_ns_ ? each_ns - period_ns_ : period_ns_ - each_ns);
}

void Rhythm::follow(uint64_t at_ns) {
  // At least one period on; more if arrivals stayed away.
  const uint64_t since_ns = at_ns - std::min(at_ns, phase_ns_);
  const uint64_t periods = std::max<uint64_t>(1, (since_ns + period_ns_ / 2) / period_ns_);
  const uint64_t expected_ns = phase_ns_ + periods * period_ns_;
  const int64_t error_ns = static_cast<int64_t>(at_ns - expected_ns);
  const uint64_t distance_ns = static_cast<uint64_t>(error_ns < 0 ? -error_ns : error_ns);
  if (distance_ns > period_ns_ / kStrayPart) {
    strays_ += kStrayWeight;
    if (strays_ < kUnlockWeight) return;
    locked_ = false;
    first_count_ = 0;
    return;
  }
  strays_ -= std::min(strays_, 1u);
  errors_.add(distance_ns);
  phase_ns_ = expected_ns + static_cast<uint64_t>(error_ns / kPhaseGain);
  period_ns_ += static_cast<uint64_t>(error_ns / kPeriodGain / static_cast<int64_t>(periods));
}

uint64_t Rhythm::next_ns(uint64_t now_ns) const {
  if (!locked_) return UINT64_MAX;
  if (now_ns <= phase_ns_) return phase_ns_;
  return phase_ns_ + ((now_ns - phase_ns_ - 1) / period_ns_ + 1) * period_ns_;
}

Window Rhythm::next_window(uint64_t now_ns, uint64_t worth_ns) const {
  if (locked_) {
    const uint64_t jitter_ns = this->jitter_ns();
    // The place of the arrival after the last one; one that is overdue by more than its jitter is not waited for.
    uint64_t expected_ns = phase_ns_ + period_ns_;
    if (expected_ns + jitter_ns < now_ns) expected_ns = next_ns(now_ns);
    return {expected_ns - std::min(expected_ns, jitter_ns), expected_ns + jitter_ns + 1};
  }
  if (intervals_.count() < kLeastForHazard) return {};
  // Buckets of the interval in which waiting pays; a run of them is one window.
  Window window;
  uint64_t later = 0;  // intervals that lie in this bucket or above
  const uint32_t end = intervals_.end();
  const uint64_t elapsed_ns = now_ns - std::min(now_ns, last_ns_);
  for (uint32_t at = 0; at < end; ++at) later += intervals_.in(at);
  for (uint32_t at = 0; at < end; ++at) {
    const uint64_t here = intervals_.in(at);
    const uint64_t width_ns = Sketch::upper_ns(at) - Sketch::lower_ns(at);
    const bool pays = later > 0 && here * worth_ns >= width_ns * later;
    later -= here;
    if (Sketch::upper_ns(at) <= elapsed_ns) continue;
    if (pays) {
      if (!window.known()) window.begin_ns = std::max(now_ns, last_ns_ + Sketch::lower_ns(at));
      window.end_ns = last_ns_ + Sketch::upper_ns(at);
    } else if (window.known()) {
      break;
    }
  }
  return window;
}

}  // namespace calypte::core
