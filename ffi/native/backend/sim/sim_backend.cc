#include "backend/sim/sim_backend.h"

#include <algorithm>

#include "engine/error.h"

namespace calypte::sim {
namespace {

constexpr uint64_t kSamplePeriodNs = 10'000'000;
constexpr uint64_t kFullStoreRetryNs = 1'000'000;

// Never, rather than a time that has wrapped around.
constexpr uint64_t later(uint64_t time_ns, uint64_t by_ns) {
  return time_ns > core::kNever - by_ns ? core::kNever : time_ns + by_ns;
}

}  // namespace

// ---- The dispatcher's side

void SimBackend::begin(uint64_t now_ns) {
  if (begun_) return;
  begun_ = true;
  now_ns_ = now_ns;
  for (uint32_t id = 0; id < jobs_.size(); ++id) {
    jobs_[id].staging.due_ns = later(now_ns, jobs_[id].work.head.phase_ns);
    stage_next(id, now_ns);
  }
  for (uint32_t id = 0; id < tasks_.size(); ++id) await_arrival(id);
}

void SimBackend::execute(const core::Action &action, uint64_t now_ns) {
  begin(now_ns);
  advance_to(now_ns);
  if (observer_ != nullptr) observer_->on_action(action, now_ns_);
  switch (action.kind) {
    case core::ActionKind::launch_critical:
      gpu_.launch_critical(action.id, action.request.number, now_ns_);
      return;
    case core::ActionKind::drop_request:
      publish(action, CALYPTE_RESULT_DROPPED);
      return;
    case core::ActionKind::fail_request:
      publish(action, CALYPTE_RESULT_FAILED);
      return;
    case core::ActionKind::complete_request: {
      const bool withheld = action.late && tasks_[action.id].work.head.on_miss == CALYPTE_ON_MISS_DROP;
      publish(action, (action.late ? CALYPTE_RESULT_LATE : 0) | (withheld ? 0 : CALYPTE_RESULT_COMPLETE));
      return;
    }
    case core::ActionKind::set_hold:
      gpu_.set_hold(action.number != 0, now_ns_);
      return;
    case core::ActionKind::grant:
      gpu_.set_granted(action.id, action.number);
      return;
    case core::ActionKind::pause:
      gpu_.set_pause(action.id, action.number != 0, now_ns_);
      return;
    case core::ActionKind::enqueue_entry:
    case core::ActionKind::launch_whole: {
      const bool whole = action.kind == core::ActionKind::launch_whole;
      const uint32_t segments = action.number == 0 ? 1 : static_cast<uint32_t>(action.number);
      const bool taken = whole ? gpu_.launch_whole(action.id, action.segment, segments, now_ns_)
                               : gpu_.enqueue(action.id, action.segment, now_ns_);
      if (taken) return;
      fault_text_ = "more than CALYPTE_MAX_ENTRIES_AHEAD background entries were enqueued";
      emit(core::EventKind::fault, action.id, now_ns_);
      return;
    }
    case core::ActionKind::task_gate:
      gpu_.write_task_gate(action.id, action.number != 0, now_ns_);
      return;
    case core::ActionKind::soft_gate:
      gpu_.set_soft(action.number != 0, now_ns_);
      return;
    case core::ActionKind::kill_worker:
    case core::ActionKind::wake:
    case core::ActionKind::wake_outside:
    case core::ActionKind::report:
      return;
  }
}

bool SimBackend::poll(core::Event &out, uint64_t now_ns) {
  begin(now_ns);
  for (uint32_t id = 0; id < jobs_.size(); ++id) {
    JobStaging &staging = jobs_[id].staging;
    if (!staging.unseen()) continue;
    staging.seen = staging.submitted.load(std::memory_order_acquire);
    advance_to(now_ns);
    stage_next(id, now_ns_);
  }
  advance_to(now_ns);
  if (outbox_taken_ == outbox_.size()) {
    outbox_.clear();
    outbox_taken_ = 0;
    return false;
  }
  out = outbox_[outbox_taken_++];
  return true;
}

uint64_t SimBackend::next_event_ns() const {
  if (outbox_taken_ < outbox_.size()) return outbox_[outbox_taken_].time_ns;
  for (const Job &job : jobs_) {
    if (job.staging.unseen()) return now_ns_;
  }
  return timeline_.next_ns();
}

// Between two events nobody can interfere.
uint64_t SimBackend::run_until(uint64_t limit_ns) {
  if (!begun_) return next_event_ns();
  for (const Job &job : jobs_) {
    if (job.staging.unseen()) return now_ns_;
  }
  gpu_.set_horizon(limit_ns);
  while (outbox_taken_ == outbox_.size() && timeline_.next_ns() <= limit_ns) {
    const Timer timer = timeline_.take();
    now_ns_ = std::max(now_ns_, timer.time_ns);
    on_timer(timer);
  }
  gpu_.set_horizon(0);
  return outbox_taken_ < outbox_.size() ? outbox_[outbox_taken_].time_ns : timeline_.next_ns();
}

void SimBackend::advance_to(uint64_t now_ns) {
  while (timeline_.next_ns() <= now_ns) {
    const Timer timer = timeline_.take();
    now_ns_ = std::max(now_ns_, timer.time_ns);
    on_timer(timer);
  }
  now_ns_ = std::max(now_ns_, now_ns);
}

void SimBackend::on_timer(const Timer &timer) {
  switch (timer.kind) {
    case TimerKind::stage:
      jobs_[timer.id].staging.retry_set = false;
      stage_next(timer.id, timer.time_ns);
      return;
    case TimerKind::staged:
      staged(timer.id, timer.time_ns);
      return;
    case TimerKind::result:
      collect(timer.id, timer.tag, timer.time_ns);
      return;
    case TimerKind::sample:
      sample(timer.time_ns);
      return;
    case TimerKind::report:
      outbox_.push_back(late_.front().event);
      outbox_.back().time_ns = timer.time_ns;
      late_.pop_front();
      return;
    case TimerKind::arrive:
      replayed_arrival(timer.id, timer.time_ns);
      return;
    default:
      gpu_.on_timer(timer);
      return;
  }
}

core::Event &SimBackend::emit(core::EventKind kind, uint32_t id, uint64_t time_ns) {
  core::Event event;
  event.kind = kind;
  event.id = id;
  event.time_ns = time_ns;
  outbox_.push_back(event);
  return outbox_.back();
}

// ---- What the virtual GPU tells

void SimBackend::critical_done(uint32_t task, uint64_t time_ns) { emit(core::EventKind::critical_done, task, time_ns); }

// A completion that is late holds up those behind it: the host reads them in order.
void SimBackend::entry_done(uint32_t job, uint64_t step_word, uint64_t busy_ns, uint64_t time_ns) {
  const calypte_sim_faults &faults = conditions_.faults;
  const bool slow = faults.late_entry_ppm > 0 && Conditions::happens(faults.late_entry_ppm, report_rng_);
  core::Event &event = emit(core::EventKind::entry_done, job, time_ns);
  event.step_word = step_word;
  event.busy_ns = busy_ns;
  if (!slow && late_.empty()) return;
  const uint64_t due_ns = time_ns + (slow ? faults.late_entry_ns : 0);
  late_.push_back({event, late_.empty() ? due_ns : std::max(due_ns, late_.back().due_ns)});
  outbox_.pop_back();
  timeline_.set(TimerKind::report, late_.back().due_ns);
}

void SimBackend::unit_done(uint32_t job, uint64_t unit, uint64_t time_ns) {
  timeline_.set(TimerKind::result, time_ns + jobs_[job].staging.output_copy_ns, job, unit);
}

void SimBackend::background_runs(uint64_t time_ns) {
  if (sample_set_) return;
  sample_set_ = true;
  timeline_.set(TimerKind::sample, time_ns + kSamplePeriodNs);
}

void SimBackend::sample(uint64_t now_ns) {
  sample_set_ = false;
  bool changed = false;
  for (uint32_t id = 0; id < jobs_.size(); ++id) {
    Job &job = jobs_[id];
    const uint64_t leaves = gpu_.job(id).leaves;
    if (leaves == job.sampled_leaves) continue;
    changed = true;
    job.sampled_leaves = leaves;
    emit(core::EventKind::job_sample, id, now_ns).leaves = leaves;
  }
  if (changed || gpu_.background_busy()) background_runs(now_ns);
}

// ---- Inputs and results

// Every unit whose result is still to come has its header's room reserved, so that none is ever lost.
bool SimBackend::room_for(const JobStaging &staging) const {
  uint64_t promised = 0;
  for (const Job &job : jobs_) promised += job.staging.open_units();
  return host_.results->room_for_background(staging.kept_bytes + promised * sizeof(calypte_result));
}

void SimBackend::stage_next(uint32_t id, uint64_t now_ns) {
  JobStaging &staging = jobs_[id].staging;
  if (staging.staging || staging.open_units() >= kSlots) return;
  const bool from_caller = staging.source == CALYPTE_SOURCE_API;
  if (from_caller && staging.staged >= staging.seen) return;
  const bool due = from_caller || staging.due_ns <= now_ns;
  if (!due || !room_for(staging)) {
    if (!staging.retry_set) timeline_.set(TimerKind::stage, due ? now_ns + kFullStoreRetryNs : staging.due_ns, id);
    staging.retry_set = true;
    return;
  }
  UnitInput &input = staging.input(staging.staged);
  input.sensor_ns = from_caller
                        ? staging.sensors_ns[staging.staged % staging.sensors_ns.size()].load(std::memory_order_relaxed)
                    : staging.period_ns > 0 ? staging.due_ns
                                            : now_ns;
  // A job that fell behind does not catch up in a burst: the period is a limit, not a schedule.
  staging.due_ns = std::max(later(staging.due_ns, staging.period_ns), now_ns);
  staging.staging = true;
  timeline_.set(TimerKind::staged, now_ns + staging.input_copy_ns, id);
}

void SimBackend::staged(uint32_t id, uint64_t now_ns) {
  JobStaging &staging = jobs_[id].staging;
  staging.staging = false;
  staging.input(staging.staged).arrival_ns = now_ns;
  staging.staged += 1;
  if (observer_ != nullptr) observer_->on_staged(id, staging.staged, now_ns);
  emit(core::EventKind::unit_ready, id, now_ns).number = staging.staged;
  stage_next(id, now_ns);
}

void SimBackend::collect(uint32_t id, uint64_t unit, uint64_t now_ns) {
  JobStaging &staging = jobs_[id].staging;
  calypte_result result{};
  result.kind = CALYPTE_WORK_BACKGROUND;
  result.work = id;
  result.flags = CALYPTE_RESULT_COMPLETE | CALYPTE_RESULT_SIMULATED;
  result.number = unit;
  result.frame_seq = unit;
  result.frame_index = staging.frame_count > 0 ? unit % staging.frame_count : 0;
  result.sensor_ns = staging.input(unit).sensor_ns;
  result.arrival_ns = staging.input(unit).arrival_ns;
  result.done_ns = now_ns;
  host_.outputs->publish(jobs_[id].work, result, nullptr);
  host_.results->put(result, nullptr);
  staging.collected.fetch_add(1, std::memory_order_release);
  stage_next(id, now_ns);
}

void SimBackend::await_arrival(uint32_t id) {
  const Task &task = tasks_[id];
  if (task.arrived < task.arrivals.size())
    timeline_.set(TimerKind::arrive, std::max(now_ns_, task.arrivals[task.arrived]), id);
}

// As calypte_submit would have done it: a request that finds no slot is refused.
void SimBackend::replayed_arrival(uint32_t id, uint64_t now_ns) {
  Task &task = tasks_[id];
  const bool taken = task.slots.take(task.arrived);
  emit(taken ? core::EventKind::arrival : core::EventKind::refused, id, now_ns);
  task.arrived += 1;
  await_arrival(id);
}

void SimBackend::publish(const core::Action &action, uint32_t flags) {
  Task &task = tasks_[action.id];
  if (!core::has_period(task.work.head.source)) task.slots.release(action.request.number);
  const uint32_t frames = frame_count(task.work);
  calypte_result result{};
  result.kind = CALYPTE_WORK_CRITICAL;
  result.work = action.id;
  result.flags = flags | CALYPTE_RESULT_SIMULATED;
  result.number = action.request.number;
  result.frame_seq = action.request.number;
  result.frame_index = frames > 0 ? action.request.number % frames : 0;
  result.sensor_ns = action.request.sensor_ns;
  result.arrival_ns = action.request.arrival_ns;
  result.start_ns = action.request.launch_ns;
  result.done_ns = action.done_ns;
  result.deadline_ns = action.request.deadline_ns;
  host_.outputs->publish(task.work, result, nullptr);
  host_.results->put(result, nullptr);
}

int32_t SimBackend::stage(uint32_t kind, uint32_t work, uint64_t number, const uint8_t *, uint64_t sensor_ns) {
  if (kind == CALYPTE_WORK_CRITICAL) {
    Task &task = tasks_[work];
    if (task.slots.take(number)) return 0;
    return fail(CALYPTE_E_BUSY, "submit '%s': all %u input slots are taken", task.work.head.name, task.slots.count);
  }
  Job &job = jobs_[work];
  JobStaging &staging = job.staging;
  if (number - staging.collected.load(std::memory_order_acquire) >= kSlots) {
    return fail(CALYPTE_E_BUSY, "submit '%s': all %llu input slots are taken", job.work.head.name,
                static_cast<unsigned long long>(kSlots));
  }
  staging.sensors_ns[number % staging.sensors_ns.size()].store(sensor_ns, std::memory_order_relaxed);
  staging.submitted.store(number + 1, std::memory_order_release);
  return 0;
}

}  // namespace calypte::sim

namespace calypte {

std::unique_ptr<Backend> make_sim_backend(const calypte_options &options, const BackendHost &host) {
  return std::make_unique<sim::SimBackend>(options, host);
}

}  // namespace calypte
