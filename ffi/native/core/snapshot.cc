// How does the scheduler's state look from outside? Copies it into the flat struct of calypte.h.
#include "core/scheduler_state.h"

namespace calypte::core {

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
  out.critical_busy_ns = critical_busy_ns_;
  out.background_busy_ns = 0;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    out.tasks[i] = tasks_[i].stats;
    out.tasks[i].waiting = tasks_[i].waiting;
    out.tasks[i].in_flight = in_flight_task_ == i ? 1 : 0;
    out.tasks[i].next_arrival_ns = tasks_[i].next_arrival_ns == kNever ? 0 : tasks_[i].next_arrival_ns;
  }
  for (size_t i = 0; i < jobs_.size(); ++i) {
    const Job &job = jobs_[i];
    calypte_job_stats &stats = out.jobs[i];
    stats = job.stats;
    stats.units = job.completed();
    stats.ready_units = job.staged - std::min(job.staged, job.completed());
    stats.step = step_of(job.step_word);
    stats.unit_ns = job.unit_ns;
    for (const uint64_t gpu_ns : stats.gpu_ns) out.background_busy_ns += gpu_ns;
  }
}

}  // namespace calypte::core
