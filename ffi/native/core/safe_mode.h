// Does critical work go so wrong that background has to stay away? Counts misses and leases that ended, each within a
// window of time, and remembers for which reasons safe mode stands. No clock, no allocation.
#pragma once

#include <array>
#include <cstdint>

#include "calypte.h"

namespace calypte::core {

// The last times at which something happened.
class Recent {
 public:
  void add(uint64_t now_ns) { times_[count_++ % kRoom] = now_ns; }
  // How many of them lie at most `span_ns` back; at most kRoom.
  uint32_t within(uint64_t span_ns, uint64_t now_ns) const;
  // 0 while there is none.
  uint64_t last_ns() const { return count_ == 0 ? 0 : times_[(count_ - 1) % kRoom]; }

  static constexpr uint32_t kRoom = CALYPTE_MAX_SAFE_MODE_COUNT;

 private:
  std::array<uint64_t, kRoom> times_{};
  uint64_t count_ = 0;
};

class SafeMode {
 public:
  // Reasons that stand go by the new rule from now on; one that it switches off ends.
  void rule(const calypte_safe_mode &rule) { rule_ = rule; }

  void miss(uint64_t now_ns);
  void lease_ended(uint64_t now_ns);
  void planned() { planned_ = true; }
  void call(bool on);

  // Ends the reasons whose time has come. True: the reasons are others than at the last call.
  bool keep(uint64_t now_ns);

  uint32_t reasons() const { return reasons_; }
  uint64_t since_ns() const { return since_ns_; }
  // For how long it stood, in all.
  uint64_t total_ns(uint64_t now_ns) const { return total_ns_ + (kept_ == 0 ? 0 : now_ns - since_ns_); }
  uint32_t misses(uint64_t now_ns) const { return misses_.within(rule_.window_ns, now_ns); }
  // When `keep` is next of use; UINT64_MAX if only an event can change anything.
  uint64_t next_ns() const;
  // When it is left if nothing else happens; 0: it does not stand, or does not end by itself.
  uint64_t until_ns() const;

 private:
  uint64_t misses_end_ns() const { return misses_.last_ns() + rule_.clear_after_ns; }
  uint64_t planner_end_ns() const { return leases_.last_ns() + rule_.clear_after_ns; }
  bool stands(uint32_t reason) const { return (reasons_ & reason) != 0; }

  calypte_safe_mode rule_{};
  Recent misses_;
  Recent leases_;
  bool planned_ = false;  // a plan came after the last lease that ended
  uint32_t reasons_ = 0;
  uint32_t kept_ = 0;  // ... as the last `keep` left them
  uint64_t since_ns_ = 0;
  uint64_t total_ns_ = 0;
};

}  // namespace calypte::core
