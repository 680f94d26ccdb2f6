// When does a job that lives in a process of its own have the GPU, and what if that process dies or hangs? Contexts
// take turns: the GPU does not run two of them at once, and to change costs more than a short entry takes.
#include <algorithm>

#include "core/scheduler_state.h"

namespace calypte::core {
namespace {

// A context keeps its turn for so long if it has work: a hundredth of it is what the change costs.
constexpr uint64_t kTurnNs = 10'000'000;
// An entry that is behind a closed gate comes back within what the job states, and so many times its own time: it may
// have met the closed gate nowhere, if that opened again soon.
constexpr uint64_t kEntriesClosed = 4;
// ... and with the gate open within so many times its own time, and this.
constexpr uint64_t kEntriesOpen = 100, kOpenNs = 1'000'000'000;
// For a machine that stands still it gets that time back, up to so much: on one that does so again and again a process
// that hangs must be dead some time.
constexpr uint64_t kMostStillNs = 1'000'000'000;

}  // namespace

// ---- Turns

// The job with work and the least GPU time for its weight, leaving out the bits in `skip`.
uint32_t Scheduler::least_served(uint32_t skip, bool only_turn) const {
  uint32_t best = kNobody;
  for (uint32_t id = 0; id < jobs_.size(); ++id) {
    const Job &job = jobs_[id];
    if ((skip >> id & 1) != 0 || !job.planned || !job.present || job.remaining() == 0) continue;
    if (only_turn && context_of(id) != turn_) continue;
    if (best == kNobody || job.pass < jobs_[best].pass) best = id;
  }
  return best;
}

uint32_t Scheduler::choose_job(uint32_t skip) const {
  const uint32_t best = least_served(skip, false);
  if (best == kNobody || context_of(best) == turn_ || now_ns_ >= turn_begin_ns_ + kTurnNs) return best;
  const uint32_t other = least_served(skip, true);
  return other == kNobody ? best : other;
}

// False: job `id` cannot have anything queued now, and nobody else can before it. What is queued in another context
// ends first. An isolated job's entries do not wait for the gate in their stream.
bool Scheduler::take_turn(uint32_t id, uint64_t now_ns) {
  if (context_of(id) != turn_) {
    if (outstanding_total_ > 0) return false;
    turn_ = context_of(id);
    turn_begin_ns_ = now_ns;
  }
  if (!isolated(id)) return true;
  return gate_open() && !critical_pending() && outstanding_total_ < kEntriesAheadUnparked;
}

// ---- Processes that come and go

uint64_t Scheduler::completed_units(uint32_t job) const { return jobs_[job].completed(); }

void Scheduler::worker_joined(uint32_t id, ActionList &out) {
  Job &job = jobs_[id];
  if (!isolated(id) || job.present) return;
  job.present = true;
  job.staged = job.granted = job.completed();
  Action &pause = out.add(ActionKind::pause);
  pause.id = id;
  pause.number = job.planned ? 0 : 1;
}

// What was queued of it is void, and the unit under way begins again.
void Scheduler::worker_lost(uint32_t id, uint64_t now_ns, ActionList &out) {
  Job &job = jobs_[id];
  if (!isolated(id) || !job.present) return;
  job.present = false;
  // Nothing else is queued while an entry of an isolated job is.
  while (job.outstanding > 0) {
    const Job::Entry entry = job.settle(0);
    outstanding_total_ -= 1;
    oldest_ = (oldest_ + 1) % CALYPTE_MAX_ENTRIES_AHEAD;
    whole_outstanding_ -= entry.segments > 0 ? 1 : 0;
    long_outstanding_ -= entry.needs_window ? 1 : 0;
    whole_queued_ns_ -= entry.safe_ns;
    closing_ns_ = 0;
    head_begin_ns_ = lone_since_ns_ = kNever;
  }
  job.step_word = step_word_of(job.completed(), 0);
  job.segment = 0;
  job.fresh = true;
  job.unit_spent_ns = 0;
  job.staged = job.granted = job.completed();
  job.sampled_word = job.sampled_blocks = job.sampled_abandoned = 0;
  kill_asked_ = false;
  if (turn_ == id) turn_ = kNobody;
  Action &report = out.add(ActionKind::report);
  report.event_kind = CALYPTE_EVENT_WORKER;
  report.id = id;
  report.a = CALYPTE_WORKER_LOST;
  report.b = static_cast<int64_t>(job.completed());
  background_begins(now_ns);
}

// ---- Processes that hang

// From when on time counts against what began at `since_ns`.
uint64_t Scheduler::patience_from_ns(uint64_t since_ns) const {
  return std::max(since_ns, std::min(stood_still_until_ns_, since_ns + kMostStillNs));
}

// When what is at work in another process will have been there for too long.
uint64_t Scheduler::kill_at_ns() const {
  if (!worker_at_work() || kill_asked_) return kNever;
  const JobConfig &config = config_.jobs[turn_];
  const Job &job = jobs_[turn_];
  const uint64_t entry_ns = std::max(config.units_per_entry * segment_ns(turn_, job.segment), config.estimate_ns);
  // Of several that are queued the first one's time counts anew when it has ended.
  if (closing_ns_ != 0) return patience_from_ns(closing_ns_) + config.kill_after_ns + kEntriesClosed * entry_ns;
  return head_begin_ns_ == kNever ? kNever : patience_from_ns(head_begin_ns_) + kOpenNs + kEntriesOpen * entry_ns;
}

void Scheduler::watch_worker(uint64_t now_ns, ActionList &out) {
  if (now_ns < kill_at_ns()) return;
  kill_asked_ = true;
  jobs_[turn_].stats.worker_kills += 1;
  const uint64_t since_ns = closing_ns_ != 0 ? closing_ns_ : head_begin_ns_;
  out.add(ActionKind::kill_worker).id = turn_;
  Action &report = out.add(ActionKind::report);
  report.event_kind = CALYPTE_EVENT_WORKER;
  report.id = turn_;
  report.a = CALYPTE_WORKER_HUNG;
  report.b = static_cast<int64_t>(now_ns - since_ns);
}

}  // namespace calypte::core
