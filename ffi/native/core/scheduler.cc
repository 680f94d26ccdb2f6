#include "core/scheduler.h"

#include <algorithm>

#include "core/histogram.h"
#include "core/scheduler_state.h"

namespace calypte::core {
namespace {

// The watchdog's multiple of the worst execution seen, and its least value: first executions are not yet known.
constexpr uint64_t kWatchdogMultiple = 10;
constexpr uint64_t kWatchdogLeastNs = 500'000'000;
// After this a launch has closed the gate on the device.
constexpr uint64_t kLaunchedNs = 30'000;

}  // namespace

Scheduler::Scheduler(const SchedulerConfig &config, const calypte_safe_mode &safe_mode)
    : config_(config), tasks_(config.tasks.size()), jobs_(config.jobs.size()), learned_(kClockKeys) {
  for (size_t i = 0; i < tasks_.size(); ++i) {
    // Who lets background come to an end does not drive it away beforehand.
    const bool at_once =
        config_.tasks[i].yield == CALYPTE_YIELD_ALWAYS || config_.tasks[i].yield == CALYPTE_YIELD_RESERVED;
    tasks_[i].anticipation =
        Anticipation(config_.tasks[i].anticipate && at_once && !reserved(static_cast<uint32_t>(i)));
  }
  for (size_t i = 0; i < jobs_.size(); ++i) {
    jobs_[i].unit_ns = config_.jobs[i].estimate_ns;
    jobs_[i].present = !config_.jobs[i].isolated;
  }
  for (Learned &set : learned_) set.reserve(config_);
  safe_.rule(safe_mode);
}

Scheduler::~Scheduler() = default;

void Scheduler::start(uint64_t now_ns, ActionList &out) {
  started_ = true;
  now_ns_ = now_ns;
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    if (periodic(id)) tasks_[id].next_arrival_ns = now_ns + config_.tasks[id].phase_ns;
    plan_closing(id, now_ns);
  }
  Action &hold = out.add(ActionKind::set_hold);
  hold.number = hold_bits_;
  for (uint32_t id = 0; id < jobs_.size(); ++id) {
    Action &pause = out.add(ActionKind::pause);
    pause.id = id;
    pause.number = 1;
  }
}

void Scheduler::step(const Event &event, uint64_t now_ns, ActionList &out) {
  now_ns_ = now_ns;
  arrive_due(now_ns, out);
  switch (event.kind) {
    case EventKind::tick:
      break;
    case EventKind::arrival:
      arrive(event.id, event.time_ns, event.sensor_ns, out);
      break;
    case EventKind::refused: {
      Task &task = tasks_[event.id];
      task.stats.requests += 1;
      const Request request{task.next_number++, event.time_ns, event.sensor_ns,
                            event.time_ns + config_.tasks[event.id].deadline_ns};
      drop(event.id, request, out);
      break;
    }
    case EventKind::critical_done:
      finish(event.id, event.time_ns, false, out);
      break;
    case EventKind::critical_failed:
      finish(event.id, event.time_ns, true, out);
      break;
    case EventKind::unit_ready:
      jobs_[event.id].staged = event.number;
      grant(event.id, out);
      break;
    case EventKind::entry_done:
      entry_done(event, now_ns, out);
      break;
    case EventKind::job_sample:
      sample(event, now_ns, out);
      break;
    case EventKind::plan:
      accept_plan(*event.plan, now_ns, out);
      break;
    case EventKind::hold:
      if ((event.number & CALYPTE_HOLD_SAFE_MODE) != 0) safe_.call(event.on);
      change_hold(static_cast<uint32_t>(event.number & ~uint64_t{CALYPTE_HOLD_SAFE_MODE}), event.on, now_ns, out);
      break;
    case EventKind::safe_mode:
      safe_.rule(*event.safe_mode);
      break;
    case EventKind::clocks:
      change_clocks(event.number, now_ns);
      break;
    case EventKind::outside_begin:
      outside_begin(event, out);
      break;
    case EventKind::outside_end:
      outside_end(event.id, event.number, event.time_ns, out);
      break;
    case EventKind::outside_expect:
      outside_expect(event.id, event.time_ns, now_ns);
      break;
    case EventKind::outside_lost:
      outside_expect(event.id, kNever, now_ns);
      while (tasks_[event.id].outside_count > 0) outside_over(event.id, 0, event.time_ns, true, out);
      break;
    case EventKind::worker_joined:
      worker_joined(event.id, out);
      break;
    case EventKind::worker_lost:
      worker_lost(event.id, now_ns, out);
      break;
    case EventKind::fault:
      change_hold(CALYPTE_HOLD_FAULT, true, now_ns, out);
      break;
  }
  keep_lease(now_ns, out);
  keep_safe_mode(now_ns, out);
  launch_next(now_ns, out);
  // What was dropped there may hold background: then nobody waits for it.
  if (keep_safe_mode(now_ns, out)) launch_next(now_ns, out);
  watch(now_ns, out);
  watch_worker(now_ns, out);
  keep_gates(now_ns, out);
  refill(now_ns, out);
}

uint64_t Scheduler::next_wakeup_ns() const {
  uint64_t next = std::min({lease_end_ns_, next_duty_ns(now_ns_), next_gate_ns(), kill_at_ns(), safe_.next_ns()});
  for (const Task &task : tasks_) next = std::min(next, task.next_arrival_ns);
  if (in_flight_task_ != kNobody && !watchdog_fired_) {
    next = std::min(next, tasks_[in_flight_task_].current.launch_ns + watchdog_ns(in_flight_task_));
  }
  return next;
}

// ---- Critical work

// It has SMs of its own, and background need not leave for it.
bool Scheduler::reserved(uint32_t id) const {
  return config_.reserved_sms && config_.tasks[id].yield == CALYPTE_YIELD_RESERVED;
}

bool Scheduler::periodic(uint32_t id) const { return has_period(config_.tasks[id].source); }

void Scheduler::arrive_due(uint64_t now_ns, ActionList &out) {
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    Task &task = tasks_[id];
    // A late dispatcher sees every arrival that it slept through, each at the time when it was due.
    // What does not fit now stays due: next_wakeup_ns has passed already, and the next tick goes on.
    while (task.next_arrival_ns <= now_ns && !out.half_full()) {
      const uint64_t arrival_ns = task.next_arrival_ns;
      task.next_arrival_ns += config_.tasks[id].period_ns;
      arrive(id, arrival_ns, arrival_ns, out);
    }
  }
}

void Scheduler::arrive(uint32_t id, uint64_t arrival_ns, uint64_t sensor_ns, ActionList &out) {
  Task &task = tasks_[id];
  const TaskConfig &config = config_.tasks[id];
  task.stats.requests += 1;
  meet(id, arrival_ns);
  const uint64_t from_ns = config.from == CALYPTE_FROM_SENSOR && sensor_ns != 0 ? sensor_ns : arrival_ns;
  const Request request{task.next_number++,           arrival_ns, sensor_ns,
                        from_ns + config.deadline_ns, 0,          critical_busy_at(arrival_ns)};
  if (task.waiting >= config.queue_depth) {
    if (config.queue == CALYPTE_QUEUE_FIFO) {
      drop(id, request, out);
      return;
    }
    const Request oldest = task.front();
    task.pop();
    drop(id, oldest, out);
  }
  task.push(request);
}

void Scheduler::count_miss(Task &task) {
  safe_.miss(now_ns_);
  task.stats.miss_run += 1;
  task.stats.longest_miss_run = std::max(task.stats.longest_miss_run, task.stats.miss_run);
}

void Scheduler::drop(uint32_t id, const Request &request, ActionList &out) {
  tasks_[id].stats.dropped += 1;
  count_miss(tasks_[id]);
  Action &action = out.add(ActionKind::drop_request);
  action.id = id;
  action.request = request;
  trace_request(id, request, now_ns_, CALYPTE_OUTCOME_DROPPED, out);
}

// What critical requests had of the GPU until then, while one is in flight up to that time.
uint64_t Scheduler::critical_busy_at(uint64_t time_ns) const {
  if (in_flight_task_ == kNobody) return critical_busy_ns_;
  return critical_busy_ns_ + time_ns - std::min(time_ns, tasks_[in_flight_task_].current.launch_ns);
}

void Scheduler::finish(uint32_t id, uint64_t done_ns, bool failed, ActionList &out) {
  if (in_flight_task_ != id) return;
  in_flight_task_ = kNobody;
  watchdog_fired_ = false;
  background_begins(done_ns);
  const bool late = account(id, tasks_[id].current, done_ns, failed, out);
  Action &action = out.add(failed ? ActionKind::fail_request : ActionKind::complete_request);
  action.id = id;
  action.request = tasks_[id].current;
  action.done_ns = done_ns;
  action.late = late;
}

// The books of a request that ended at done_ns. Returns whether it is late.
bool Scheduler::account(uint32_t id, const Request &request, uint64_t done_ns, bool failed, ActionList &out) {
  Task &task = tasks_[id];
  const uint64_t busy_ns = done_ns - std::min(done_ns, request.launch_ns);
  task.stats.busy_ns += busy_ns;
  critical_busy_ns_ += busy_ns;
  const bool late = done_ns > request.deadline_ns;
  trace_request(id, request, done_ns,
                failed ? CALYPTE_OUTCOME_FAILED
                : late ? CALYPTE_OUTCOME_LATE
                       : CALYPTE_OUTCOME_ON_TIME,
                out);
  if (failed) {
    task.stats.failed += 1;
    count_miss(task);
    return false;
  }
  learned_[clocks_].executions[id].add(busy_ns);
  task.stats.worst_execution_ns = std::max(task.stats.worst_execution_ns, busy_ns);
  histogram_add(task.stats.response, done_ns - std::min(done_ns, request.arrival_ns));
  if (late) {
    task.stats.late += 1;
    count_miss(task);
    Action &miss = out.add(ActionKind::report);
    miss.event_kind = CALYPTE_EVENT_MISS;
    miss.id = id;
    miss.a = static_cast<int64_t>(request.number);
    miss.b = static_cast<int64_t>(done_ns - request.deadline_ns);
  } else {
    task.stats.on_time += 1;
    task.stats.miss_run = 0;
  }
  return late;
}

// The task whose oldest waiting request has the earliest deadline.
uint32_t Scheduler::earliest(uint64_t now_ns, ActionList &out) {
  uint32_t best = kNobody;
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    Task &task = tasks_[id];
    // Where a late output is worth nothing, a request past its deadline only delays the next one.
    while (config_.tasks[id].on_miss == CALYPTE_ON_MISS_DROP && task.waiting > 0 && task.front().deadline_ns < now_ns) {
      const Request expired = task.front();
      task.pop();
      drop(id, expired, out);
    }
    if (task.waiting > 0 && (best == kNobody || task.front().deadline_ns < tasks_[best].front().deadline_ns)) best = id;
  }
  return best;
}

// Earliest deadline first, one at a time: a critical graph is not preempted by another.
void Scheduler::launch_next(uint64_t now_ns, ActionList &out) {
  deferred_until_ns_ = kNever;
  if (in_flight_task_ != kNobody || !started_ || (hold_bits_ & CALYPTE_HOLD_FAULT) != 0) return;
  const uint32_t best = earliest(now_ns, out);
  if (best == kNobody) return;
  Task &task = tasks_[best];
  if (may_wait(best, now_ns)) {
    if (task.deferred_ns == 0) task.deferred_ns = std::max<uint64_t>(now_ns, 1);
    write_soft_gate(true, out);
    return;
  }
  uint64_t deferred_ns = 0;
  if (task.deferred_ns != 0) {
    task.stats.deferred += 1;
    deferred_ns = now_ns - task.deferred_ns;
    task.stats.deferred_ns += deferred_ns;
    task.deferred_ns = 0;
  }
  task.current = task.front();
  task.current.queued_ns = std::min(critical_busy_ns_ - std::min(critical_busy_ns_, task.current.busy_before_ns),
                                    now_ns - std::min(now_ns, task.current.arrival_ns));
  task.current.deferred_ns = deferred_ns;
  drain_job_ = head_begin_ns_ == kNever ? kNobody : order_[oldest_];
  drained_ns_ = 0;
  task.current.launch_ns = now_ns;
  task.pop();
  in_flight_task_ = best;
  if (!reserved(best)) {
    task.gate = Gate::open;  // its graph closes it again, and opens it at its end
    background_closes(now_ns);
    soft_release_ns_ = now_ns + kLaunchedNs;
  }
  Action &action = out.add(ActionKind::launch_critical);
  action.id = best;
  action.request = task.current;
}

uint64_t Scheduler::watchdog_ns(uint32_t id) const {
  const uint64_t worst_ns = std::max(tasks_[id].stats.worst_execution_ns, config_.tasks[id].estimate_ns);
  return std::max(kWatchdogLeastNs, kWatchdogMultiple * worst_ns);
}

void Scheduler::watch(uint64_t now_ns, ActionList &out) {
  if (in_flight_task_ == kNobody || watchdog_fired_) return;
  const Task &task = tasks_[in_flight_task_];
  const uint64_t running_ns = now_ns - std::min(now_ns, task.current.launch_ns);
  if (running_ns < watchdog_ns(in_flight_task_)) return;
  watchdog_fired_ = true;
  Action &report = out.add(ActionKind::report);
  report.event_kind = CALYPTE_EVENT_WATCHDOG;
  report.id = in_flight_task_;
  report.a = static_cast<int64_t>(task.current.number);
  report.b = static_cast<int64_t>(running_ns);
  change_hold(CALYPTE_HOLD_FAULT, true, now_ns, out);
}

bool Scheduler::critical_pending() const {
  if (in_flight_task_ != kNobody && !reserved(in_flight_task_)) return true;
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    if ((tasks_[id].waiting > 0 || tasks_[id].outside_count > 0) && !reserved(id)) return true;
  }
  return false;
}

}  // namespace calypte::core
