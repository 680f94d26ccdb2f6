// How does the scheduler's state look from outside? Copies it into the flat struct of calypte.h.
#include "core/scheduler_state.h"

namespace calypte::core {
namespace {

constexpr uint32_t kLeastToTell = 20;  // samples

}  // namespace

void Scheduler::snapshot(uint64_t now_ns, calypte_snapshot &out) const {
  out.now_ns = now_ns;
  out.task_count = static_cast<uint32_t>(tasks_.size());
  out.job_count = static_cast<uint32_t>(jobs_.size());
  out.plan_id = plan_id_;
  out.lease_end_ns = lease_end_ns_ == kNever ? 0 : lease_end_ns_;
  out.hold_bits = hold_bits_;
  out.entries_ahead = outstanding_total_;
  out.lease_expired = lease_expired_;
  out.safe_mode = safe_mode_;
  out.safe_mode_reasons = safe_.reasons();
  out.safe_mode_misses = safe_.misses(now_ns);
  out.safe_mode_since_ns = safe_.since_ns();
  out.safe_mode_ns = safe_.total_ns(now_ns);
  out.safe_mode_until_ns = safe_.until_ns();
  out.critical_busy_ns = critical_busy_ns_;
  out.background_busy_ns = 0;
  out.ahead_ns = 0;
  out.clock_key = learned_[clocks_].key;
  uint64_t window_end_ns = kNever;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    out.tasks[i] = tasks_[i].stats;
    out.tasks[i].waiting = tasks_[i].waiting;
    out.tasks[i].in_flight = in_flight_task_ == i ? 1 : tasks_[i].outside_count;
    const uint32_t id = static_cast<uint32_t>(i);
    const Task &task = tasks_[i];
    const uint64_t next_ns = periodic(id) ? task.next_arrival_ns : task.rhythm.next_ns(now_ns);
    window_end_ns = std::min(window_end_ns, next_ns);
    calypte_task_stats &stats = out.tasks[i];
    stats.next_arrival_ns = next_ns == kNever ? 0 : next_ns;
    stats.execution_p50_ns = learned_[clocks_].executions[i].quantile(500, kLeastToTell);
    stats.execution_p99_ns = learned_[clocks_].executions[i].quantile(990, kLeastToTell);
    stats.period_ns = periodic(id) ? config_.tasks[i].period_ns : task.rhythm.period_ns();
    stats.jitter_ns = task.rhythm.jitter_ns();
    stats.margin_ns = task.anticipation.on() ? margin_ns(id) : 0;
    stats.anticipated = task.anticipation.books().hits;
    stats.wrong_guesses = task.anticipation.books().wrong;
    stats.ahead_ns = task.anticipation.books().ahead_ns;
    out.ahead_ns += stats.ahead_ns;
  }
  out.window_end_ns = window_end_ns == kNever ? 0 : window_end_ns;
  for (size_t i = 0; i < jobs_.size(); ++i) {
    const Job &job = jobs_[i];
    calypte_job_stats &stats = out.jobs[i];
    stats = job.stats;
    stats.units = job.completed();
    stats.ready_units = job.staged - std::min(job.staged, job.completed());
    stats.step = step_of(job.step_word);
    stats.unit_ns = job.unit_ns;
    stats.outstanding = job.outstanding;
    stats.worker_state = !config_.jobs[i].isolated ? 0 : job.present ? 2 : 1;
    stats.drain_p99_ns = learned_[clocks_].drains[i].quantile(990, kLeastToTell);
    for (const uint64_t gpu_ns : stats.gpu_ns) out.background_busy_ns += gpu_ns;
  }
}

}  // namespace calypte::core
