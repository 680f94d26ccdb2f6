// What may background do, until when, and for what part of the time? Plans with their leases, the reasons for which all
// of it is held, and the clocks at which durations were learned.
#include <algorithm>

#include "core/scheduler_state.h"

namespace calypte::core {
namespace {

// Background under a duty of d runs in the first d of each such period: long against a drain, short against what heats
// up.
constexpr uint64_t kDutyPeriodNs = 50'000'000;

// The sum of the weights of a plan.
constexpr uint64_t kWeightScale = 1'000'000;

constexpr uint64_t open_ns(uint32_t duty_permille) { return kDutyPeriodNs / 1000 * duty_permille; }

}  // namespace

void Scheduler::accept_plan(const calypte_plan &plan, uint64_t now_ns, ActionList &out) {
  plan_id_ = plan.id;
  safe_.planned();
  lease_end_ns_ = now_ns + plan.lease_ns;
  duty_permille_ = plan.duty_permille >= 1000 ? 0 : plan.duty_permille;
  // What a job has had is kept divided by its weight: weights mean the same from plan to plan only as parts of their
  // sum.
  uint64_t sum = 0;
  for (uint32_t i = 0; i < plan.entry_count; ++i) sum += plan.entries[i].weight;
  for (uint32_t id = 0; id < jobs_.size(); ++id) {
    Job &job = jobs_[id];
    const bool was_planned = job.planned;
    job.planned = false;
    for (uint32_t i = 0; i < plan.entry_count; ++i) {
      if (plan.entries[i].job != id) continue;
      job.planned = true;
      job.weight = static_cast<uint32_t>(std::max<uint64_t>(1, kWeightScale * plan.entries[i].weight / sum));
      const uint64_t most = plan.entries[i].max_units;
      job.unit_limit = most == 0 || most > kNever - job.completed() ? kNever : job.completed() + most;
    }
    if (job.planned != was_planned) {
      Action &pause = out.add(ActionKind::pause);
      pause.id = id;
      pause.number = job.planned ? 0 : 1;
      if (job.planned) forget_absence(job);
    }
    grant(id, out);
  }
  // Other jobs leave in another time.
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    if (tasks_[id].gate == Gate::open) plan_closing(id, now_ns);
  }
  const uint32_t before = hold_bits_;
  change_hold(CALYPTE_HOLD_NO_PLAN | CALYPTE_HOLD_LEASE, false, now_ns, out);
  if ((before & (CALYPTE_HOLD_NO_PLAN | CALYPTE_HOLD_LEASE)) != 0) {
    Action &report = out.add(ActionKind::report);
    report.event_kind = CALYPTE_EVENT_PLAN;
    report.id = kNobody;
    report.a = static_cast<int64_t>(plan.id);
  }
}

void Scheduler::change_hold(uint32_t bits, bool on, uint64_t now_ns, ActionList &out) {
  const uint32_t before = hold_bits_;
  const uint32_t after = on ? before | bits : before & ~bits;
  if (after == before) return;
  if ((after & ~before & CALYPTE_HOLD_SAFE_MODE) != 0) safe_mode_ += 1;
  hold_bits_ = after;
  if ((before == 0) != (after == 0)) {
    Action &action = out.add(ActionKind::set_hold);
    action.number = after == 0 ? 0 : 1;
    if (after == 0)
      background_begins(now_ns);
    else
      background_closes(now_ns);
  }
  // The duty comes and goes many times a second: it is seen in the snapshot.
  if (((before ^ after) & ~uint32_t{CALYPTE_HOLD_DUTY}) == 0) return;
  Action &report = out.add(ActionKind::report);
  report.event_kind = CALYPTE_EVENT_HOLD;
  report.id = kNobody;
  report.a = before;
  report.b = after;
}

// What time alone changes.
void Scheduler::keep_lease(uint64_t now_ns, ActionList &out) {
  if (now_ns >= lease_end_ns_) {
    lease_end_ns_ = kNever;
    lease_expired_ += 1;
    safe_.lease_ended(now_ns);
    Action &report = out.add(ActionKind::report);
    report.event_kind = CALYPTE_EVENT_LEASE_EXPIRED;
    report.id = kNobody;
    report.a = static_cast<int64_t>(plan_id_);
    change_hold(CALYPTE_HOLD_LEASE, true, now_ns, out);
  }
  const bool resting = duty_permille_ != 0 && now_ns % kDutyPeriodNs >= open_ns(duty_permille_);
  change_hold(CALYPTE_HOLD_DUTY, resting, now_ns, out);
}

uint64_t Scheduler::next_duty_ns(uint64_t now_ns) const {
  if (duty_permille_ == 0) return kNever;
  const uint64_t begin_ns = now_ns - now_ns % kDutyPeriodNs;
  const uint64_t end_ns = begin_ns + open_ns(duty_permille_);
  return now_ns < end_ns ? end_ns : begin_ns + kDutyPeriodNs;
}

// Takes up what was learned at these clocks before; else begins anew, in the place of what was not used for longest.
void Scheduler::change_clocks(uint64_t key, uint64_t now_ns) {
  if (learned_[clocks_].key == key) return;
  learned_[clocks_].used_ns = std::max<uint64_t>(now_ns, 1);
  clock_changes_ += 1;
  uint32_t oldest = clocks_ == 0 ? 1 : 0;
  for (uint32_t i = 0; i < learned_.size(); ++i) {
    if (i == clocks_) continue;
    if (learned_[i].key == key && learned_[i].used_ns > 0) {
      clocks_ = i;
      return;
    }
    if (learned_[i].used_ns < learned_[oldest].used_ns) oldest = i;
  }
  clocks_ = oldest;
  learned_[clocks_].forget();
  learned_[clocks_].key = key;
}

}  // namespace calypte::core
