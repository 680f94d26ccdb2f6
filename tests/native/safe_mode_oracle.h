// When must safe mode stand, and when must it not? Works that out from the misses, the plans and the caller's wishes
// alone, by the text of calypte_safe_mode. Where two things happen in the same nanosecond, or a timer is late, either
// answer is right: so there is a reason that is certain and one that is possible.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "calypte.h"

namespace calypte::test {

class SafeModeOracle {
 public:
  void rule(const calypte_safe_mode &rule, uint64_t now_ns, uint64_t lateness_ns) {
    const bool sure = certain(now_ns) & CALYPTE_SAFE_MISSES,
               maybe = possible(now_ns, lateness_ns) & CALYPTE_SAFE_MISSES;
    settle(now_ns);
    rule_ = rule;
    certain_end_ns_ = sure && rule.misses > 0 ? last(misses_) + rule.clear_after_ns : 0;
    possible_end_ns_ = maybe && rule.misses > 0 ? last(misses_) + rule.clear_after_ns : 0;
    stale_ = stale_ && rule.stale_leases > 0;
  }
  void miss(uint64_t now_ns, uint64_t lateness_ns) {
    misses_.push_back(now_ns);
    const uint64_t end_ns = now_ns + rule_.clear_after_ns;
    const bool enough = rule_.misses > 0 && count(misses_, now_ns) >= rule_.misses;
    if (enough || now_ns < certain_end_ns_) certain_end_ns_ = end_ns;
    if (enough || (possible_end_ns_ > 0 && now_ns <= possible_end_ns_ + lateness_ns)) possible_end_ns_ = end_ns;
  }
  void plan(uint64_t lease_ns, uint64_t now_ns) {
    settle(now_ns);
    if (stale_ && !planned_) planned_ns_ = now_ns;
    planned_ = true;
    lease_end_ns_ = now_ns + lease_ns;
  }
  void call(bool on) { called_ = on; }

  uint32_t certain(uint64_t now_ns) const {
    SafeModeOracle then = *this;
    if (then.lease_end_ns_ < now_ns) then.settle(now_ns);
    const bool stale = then.stale_ && (!then.planned_ || now_ns < then.stale_end_ns());
    return bits(now_ns < certain_end_ns_, stale);
  }
  uint32_t possible(uint64_t now_ns, uint64_t lateness_ns) const {
    SafeModeOracle then = *this;
    then.settle(now_ns);
    const bool stale = then.stale_ && (!then.planned_ || now_ns <= then.stale_end_ns());
    return bits(possible_end_ns_ > 0 && now_ns <= possible_end_ns_ + lateness_ns, stale);
  }

  // Whether the engine may say that from `now_ns` on `reasons` stand, `before` having stood until then.
  bool may_change(uint32_t before, uint32_t reasons, uint64_t now_ns, uint64_t lateness_ns) const {
    const bool missed = std::binary_search(misses_.begin(), misses_.end(), now_ns);
    if ((reasons & ~before & CALYPTE_SAFE_MISSES) != 0 && (!missed || count(misses_, now_ns) < rule_.misses))
      return false;
    if ((before & ~reasons & CALYPTE_SAFE_MISSES) == 0 || changed_ || missed) return true;
    const auto behind = std::lower_bound(misses_.begin(), misses_.end(), now_ns);
    const uint64_t end_ns = *(behind - 1) + rule_.clear_after_ns;
    return end_ns <= now_ns && now_ns <= end_ns + lateness_ns;
  }
  bool may_count(uint64_t said, uint64_t now_ns) const {
    const uint64_t at_once = static_cast<uint64_t>(std::count(misses_.begin(), misses_.end(), now_ns));
    const uint64_t most = count(misses_, now_ns);
    const uint64_t room = CALYPTE_MAX_SAFE_MODE_COUNT;
    if (changed_) return true;  // it may have been said under the rule before
    return said <= std::min(most, room) && said + at_once >= std::min(most, room);
  }
  // The rule has changed since the engine's events were last looked at: then endings and counts are not judged.
  void mark_changed(bool changed) { changed_ = changed; }

 private:
  static uint64_t last(const std::vector<uint64_t> &times) { return times.empty() ? 0 : times.back(); }
  uint64_t count(const std::vector<uint64_t> &times, uint64_t now_ns) const {
    return static_cast<uint64_t>(std::count_if(times.begin(), times.end(), [&](uint64_t at_ns) {
      return at_ns <= now_ns && now_ns - at_ns <= rule_.window_ns;
    }));
  }
  uint64_t stale_end_ns() const { return std::max(last(leases_) + rule_.clear_after_ns, planned_ns_); }
  uint32_t bits(bool missed, bool stale) const {
    return (missed ? CALYPTE_SAFE_MISSES : 0) | (called_ ? CALYPTE_SAFE_CALLER : 0) |
           (stale ? CALYPTE_SAFE_PLANNER : 0);
  }
  // The lease may have ended by now.
  void settle(uint64_t now_ns) {
    if (stale_ && planned_ && std::min(now_ns, lease_end_ns_) > stale_end_ns()) stale_ = false;
    if (!planned_ || lease_end_ns_ > now_ns) return;
    leases_.push_back(lease_end_ns_);
    planned_ = false;
    if (rule_.stale_leases > 0 && count(leases_, lease_end_ns_) >= rule_.stale_leases) stale_ = true;
    lease_end_ns_ = UINT64_MAX;
  }

  calypte_safe_mode rule_{};
  std::vector<uint64_t> misses_, leases_;
  uint64_t certain_end_ns_ = 0, possible_end_ns_ = 0;
  uint64_t lease_end_ns_ = UINT64_MAX;
  uint64_t planned_ns_ = 0;
  bool planned_ = false, stale_ = false, called_ = false, changed_ = false;
};

}  // namespace calypte::test
