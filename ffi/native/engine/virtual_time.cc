// How does an engine live in virtual time, and what of a simulated device can be set? Everything of the engine that
// only the simulator has.
#include "engine/engine.h"
#include "engine/error.h"

namespace calypte {

int32_t Engine::advance(uint64_t until_ns) {
  if (const int32_t code = expect_state(CALYPTE_STATE_READY, "sim_advance"); code < 0) return code;
  if (!virtual_clock()) return fail(CALYPTE_E_STATE, "sim_advance: the engine runs in real time");
  if (until_ns < virtual_now_ns_) return fail(CALYPTE_E_INVALID, "sim_advance: time does not go back");
  for (;;) {
    const uint64_t scheduler_ns = next_wakeup_ns();
    const uint64_t backend_ns = backend_->run_until(until_ns < scheduler_ns ? until_ns : scheduler_ns);
    const uint64_t next_ns = backend_ns < scheduler_ns ? backend_ns : scheduler_ns;
    if (next_ns > until_ns || next_ns == core::kNever) break;
    if (next_ns > virtual_now_ns_) virtual_now_ns_ = next_ns;
    core::Event event;
    // What moved on the virtual GPU alone is no reason for a step of the scheduler.
    if (!backend_->poll(event, virtual_now_ns_) && scheduler_ns > virtual_now_ns_) continue;
    handle(event, virtual_now_ns_);
  }
  virtual_now_ns_ = until_ns;
  return 0;
}

// A timer that is late is late once, not anew at every look.
uint64_t Engine::next_wakeup_ns() {
  const uint64_t due_ns = scheduler_->next_wakeup_ns();
  if (due_ns == wakeup_due_ns_) return wakeup_ns_;
  wakeup_due_ns_ = due_ns;
  wakeup_ns_ = due_ns == core::kNever ? core::kNever : due_ns + backend_->lateness_ns();
  return wakeup_ns_;
}

int32_t Engine::expect_empty_sim(const char *operation) const {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, operation); code < 0) return code;
  if (options_.backend != CALYPTE_BACKEND_SIM) return fail(CALYPTE_E_STATE, "%s: only on the simulator", operation);
  if (tasks_.empty() && jobs_.empty()) return 0;
  return fail(CALYPTE_E_STATE, "%s: only before work is added", operation);
}

int32_t Engine::sim_profile(const calypte_sim_profile &profile) {
  if (const int32_t code = expect_empty_sim("sim_profile_set"); code < 0) return code;
  if (profile.abi_version != CALYPTE_ABI_VERSION || profile.size_bytes != sizeof profile)
    return fail(CALYPTE_E_INVALID, "sim_profile_set: a profile of another ABI version");
  if (profile.copy_bytes_per_us == 0 || profile.clock_permille == 0)
    return fail(CALYPTE_E_INVALID, "sim_profile_set: copy_bytes_per_us and clock_permille must be greater than 0");
  if (profile.critical_deviation_ppm > 200'000 || profile.step_deviation_ppm > 200'000)
    return fail(CALYPTE_E_INVALID, "sim_profile_set: deviations must be at most 200000 ppm");
  if (profile.timer_p99_ns < profile.timer_p50_ns)
    return fail(CALYPTE_E_INVALID, "sim_profile_set: timer_p99_ns must be at least timer_p50_ns");
  if (profile.integrated > 1) return fail(CALYPTE_E_INVALID, "sim_profile_set: integrated must be 0 or 1");
  return backend_->sim_profile(profile);
}

int32_t Engine::sim_faults(const calypte_sim_faults &faults) {
  if (const int32_t code = expect_empty_sim("sim_faults_set"); code < 0) return code;
  if (faults.abi_version != CALYPTE_ABI_VERSION || faults.size_bytes != sizeof faults)
    return fail(CALYPTE_E_INVALID, "sim_faults_set: faults of another ABI version");
  if (faults.slow_ppm > 0 && faults.slow_permille < 1000)
    return fail(CALYPTE_E_INVALID, "sim_faults_set: slow_permille must be at least 1000, got %u", faults.slow_permille);
  if (faults.throttle_end_ns < faults.throttle_begin_ns ||
      (faults.throttle_end_ns > faults.throttle_begin_ns && faults.throttle_permille == 0))
    return fail(CALYPTE_E_INVALID, "sim_faults_set: throttling must end after it begins, and leave some speed");
  return backend_->sim_faults(faults);
}

int32_t Engine::replay_durations(uint32_t kind, int32_t id, const uint64_t *times_ns, uint32_t count) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "sim_replay_durations"); code < 0) return code;
  if (find(kind, id) == nullptr)
    return fail(CALYPTE_E_NOT_FOUND, "sim_replay_durations: no work %d of kind %u", id, kind);
  return backend_->replay_durations(kind, static_cast<uint32_t>(id), times_ns, count);
}

int32_t Engine::replay_arrivals(int32_t id, const uint64_t *times_ns, uint32_t count) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "sim_replay_arrivals"); code < 0) return code;
  const Work *task = find(CALYPTE_WORK_CRITICAL, id);
  if (task == nullptr) return fail(CALYPTE_E_NOT_FOUND, "sim_replay_arrivals: no task %d", id);
  if (task->head.source != CALYPTE_SOURCE_API)
    return fail(CALYPTE_E_STATE, "sim_replay_arrivals '%s': its source is not API", task->head.name);
  return backend_->replay_arrivals(static_cast<uint32_t>(id), times_ns, count);
}

}  // namespace calypte
