#include "core/safe_mode.h"

#include <algorithm>

#include "core/scheduler_state.h"

namespace calypte::core {

uint32_t Recent::within(uint64_t span_ns, uint64_t now_ns) const {
  const uint64_t known = std::min<uint64_t>(count_, kRoom);
  uint32_t found = 0;
  while (found < known && now_ns - times_[(count_ - 1 - found) % kRoom] <= span_ns) found += 1;
  return found;
}

void SafeMode::miss(uint64_t now_ns) {
  misses_.add(now_ns);
  if (rule_.misses != 0 && misses_.within(rule_.window_ns, now_ns) >= rule_.misses) reasons_ |= CALYPTE_SAFE_MISSES;
}

void SafeMode::lease_ended(uint64_t now_ns) {
  leases_.add(now_ns);
  planned_ = false;
  if (rule_.stale_leases != 0 && leases_.within(rule_.window_ns, now_ns) >= rule_.stale_leases)
    reasons_ |= CALYPTE_SAFE_PLANNER;
}

void SafeMode::call(bool on) {
  if (on)
    reasons_ |= CALYPTE_SAFE_CALLER;
  else
    reasons_ &= ~uint32_t{CALYPTE_SAFE_CALLER};
}

bool SafeMode::keep(uint64_t now_ns) {
  if (rule_.misses == 0 || now_ns >= misses_end_ns()) reasons_ &= ~uint32_t{CALYPTE_SAFE_MISSES};
  // A planner that is still silent has not recovered, however long ago its last lease ended.
  if (rule_.stale_leases == 0 || (planned_ && now_ns >= planner_end_ns())) reasons_ &= ~uint32_t{CALYPTE_SAFE_PLANNER};
  if (reasons_ == kept_) return false;
  if (reasons_ == 0) {
    total_ns_ = total_ns(now_ns);
    since_ns_ = 0;
  } else if (kept_ == 0) {
    since_ns_ = now_ns;
  }
  kept_ = reasons_;
  return true;
}

uint64_t SafeMode::next_ns() const {
  uint64_t next_ns = kNever;
  if (stands(CALYPTE_SAFE_MISSES)) next_ns = misses_end_ns();
  if (stands(CALYPTE_SAFE_PLANNER) && planned_) next_ns = std::min(next_ns, planner_end_ns());
  return next_ns;
}

uint64_t SafeMode::until_ns() const {
  if (stands(CALYPTE_SAFE_CALLER) || (stands(CALYPTE_SAFE_PLANNER) && !planned_)) return 0;
  uint64_t until_ns = 0;
  if (stands(CALYPTE_SAFE_MISSES)) until_ns = misses_end_ns();
  if (stands(CALYPTE_SAFE_PLANNER)) until_ns = std::max(until_ns, planner_end_ns());
  return until_ns;
}

bool Scheduler::keep_safe_mode(uint64_t now_ns, ActionList &out) {
  if (!safe_.keep(now_ns)) return false;
  change_hold(CALYPTE_HOLD_SAFE_MODE, safe_.reasons() != 0, now_ns, out);
  Action &report = out.add(ActionKind::report);
  report.event_kind = CALYPTE_EVENT_SAFE_MODE;
  report.id = kNobody;
  report.a = safe_.reasons();
  report.b = safe_.misses(now_ns);
  return true;
}

}  // namespace calypte::core
