#include "core/scheduler.h"

#include <algorithm>

#include "core/histogram.h"
#include "core/scheduler_state.h"

namespace calypte::core {
namespace {

// A `whole` kernel is started only if the window holds its estimate, a quarter more, and this.
constexpr uint64_t kWindowMarginNs = 50'000;
// The watchdog's multiple of the worst execution seen, and its least value: first executions are not yet known.
constexpr uint64_t kWatchdogMultiple = 10;
constexpr uint64_t kWatchdogLeastNs = 500'000'000;
// GPU time divided by weight, scaled so that a large weight still leaves whole numbers and that 2^64 lasts for
// half a year of a job with weight 1.
constexpr uint64_t kPassScale = 1024;
// Without parking an entry that finds the gate closed is not held back by the stream: few are kept queued.
constexpr uint32_t kEntriesAheadHostResume = 2;

// A job whose backlog was empty for a moment keeps this much of what it is owed; one that was away for long does not
// come back to take the GPU for itself.
constexpr uint64_t kCreditNs = 20'000'000;

constexpr uint64_t with_margin(uint64_t estimate_ns) { return estimate_ns + estimate_ns / 4 + kWindowMarginNs; }

}  // namespace

Scheduler::Scheduler(const SchedulerConfig &config)
    : config_(config), tasks_(config.tasks.size()), jobs_(config.jobs.size()) {
  for (size_t i = 0; i < jobs_.size(); ++i) jobs_[i].unit_ns = config_.jobs[i].estimate_ns;
}

Scheduler::~Scheduler() = default;

void Scheduler::start(uint64_t now_ns, ActionList &out) {
  started_ = true;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    if (has_period(config_.tasks[i].source)) tasks_[i].next_arrival_ns = now_ns + config_.tasks[i].phase_ns;
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
                            event.time_ns + config_.tasks[event.id].deadline_ns, 0};
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
      entry_done(event);
      break;
    case EventKind::job_sample:
      jobs_[event.id].stats.leaves = event.leaves;
      break;
    case EventKind::plan:
      accept_plan(*event.plan, now_ns, out);
      break;
    case EventKind::hold:
      change_hold(static_cast<uint32_t>(event.number), event.on, out);
      break;
    case EventKind::clocks:
      break;
    case EventKind::fault:
      change_hold(CALYPTE_HOLD_FAULT, true, out);
      break;
  }
  if (now_ns >= lease_end_ns_) {
    lease_end_ns_ = kNever;
    lease_expired_ += 1;
    Action &report = out.add(ActionKind::report);
    report.event_kind = CALYPTE_EVENT_LEASE_EXPIRED;
    report.id = kNobody;
    report.a = static_cast<int64_t>(plan_id_);
    change_hold(CALYPTE_HOLD_LEASE, true, out);
  }
  launch_next(now_ns, out);
  watch(now_ns, out);
  refill(now_ns, out);
}

uint64_t Scheduler::next_wakeup_ns() const {
  uint64_t next = lease_end_ns_;
  for (const Task &task : tasks_) next = std::min(next, task.next_arrival_ns);
  if (in_flight_task_ != kNobody && !watchdog_fired_) {
    next = std::min(next, tasks_[in_flight_task_].current.launch_ns + watchdog_ns(in_flight_task_));
  }
  return next;
}

// ---- Critical work

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
  const uint64_t from_ns = config.from == CALYPTE_FROM_SENSOR && sensor_ns != 0 ? sensor_ns : arrival_ns;
  const Request request{task.next_number++, arrival_ns, sensor_ns, from_ns + config.deadline_ns, 0};
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
  task.stats.miss_run += 1;
  task.stats.longest_miss_run = std::max(task.stats.longest_miss_run, task.stats.miss_run);
}

void Scheduler::drop(uint32_t id, const Request &request, ActionList &out) {
  tasks_[id].stats.dropped += 1;
  count_miss(tasks_[id]);
  Action &action = out.add(ActionKind::drop_request);
  action.id = id;
  action.request = request;
}

void Scheduler::finish(uint32_t id, uint64_t done_ns, bool failed, ActionList &out) {
  if (in_flight_task_ != id) return;
  Task &task = tasks_[id];
  const Request &request = task.current;
  const uint64_t busy_ns = done_ns - std::min(done_ns, request.launch_ns);
  in_flight_task_ = kNobody;
  watchdog_fired_ = false;
  task.stats.busy_ns += busy_ns;
  critical_busy_ns_ += busy_ns;
  if (failed) {
    task.stats.failed += 1;
    count_miss(task);
    Action &action = out.add(ActionKind::fail_request);
    action.id = id;
    action.request = request;
    action.done_ns = done_ns;
    return;
  }
  const bool late = done_ns > request.deadline_ns;
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
  Action &action = out.add(ActionKind::complete_request);
  action.id = id;
  action.request = request;
  action.done_ns = done_ns;
  action.late = late;
}

// Earliest deadline first, one at a time: a critical graph is not preempted by another.
void Scheduler::launch_next(uint64_t now_ns, ActionList &out) {
  if (in_flight_task_ != kNobody || !started_ || (hold_bits_ & CALYPTE_HOLD_FAULT) != 0) return;
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
  if (best == kNobody) return;
  Task &task = tasks_[best];
  task.current = task.front();
  task.current.launch_ns = now_ns;
  task.pop();
  in_flight_task_ = best;
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
  change_hold(CALYPTE_HOLD_FAULT, true, out);
}

bool Scheduler::critical_pending() const {
  if (in_flight_task_ != kNobody) return true;
  for (const Task &task : tasks_) {
    if (task.waiting > 0) return true;
  }
  return false;
}

// ---- Plan, lease, hold

void Scheduler::accept_plan(const calypte_plan &plan, uint64_t now_ns, ActionList &out) {
  plan_id_ = plan.id;
  lease_end_ns_ = now_ns + plan.lease_ns;
  for (uint32_t id = 0; id < jobs_.size(); ++id) {
    Job &job = jobs_[id];
    const bool was_planned = job.planned;
    job.planned = false;
    for (uint32_t i = 0; i < plan.entry_count; ++i) {
      if (plan.entries[i].job != id) continue;
      job.planned = true;
      job.weight = plan.entries[i].weight;
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
  const uint32_t before = hold_bits_;
  change_hold(CALYPTE_HOLD_NO_PLAN | CALYPTE_HOLD_LEASE, false, out);
  if ((before & (CALYPTE_HOLD_NO_PLAN | CALYPTE_HOLD_LEASE)) != 0) {
    Action &report = out.add(ActionKind::report);
    report.event_kind = CALYPTE_EVENT_PLAN;
    report.id = kNobody;
    report.a = static_cast<int64_t>(plan.id);
  }
}

void Scheduler::change_hold(uint32_t bits, bool on, ActionList &out) {
  const uint32_t before = hold_bits_;
  const uint32_t after = on ? before | bits : before & ~bits;
  if (after == before) return;
  if ((after & ~before & CALYPTE_HOLD_SAFE_MODE) != 0) safe_mode_ += 1;
  hold_bits_ = after;
  if ((before == 0) != (after == 0)) {
    Action &action = out.add(ActionKind::set_hold);
    action.number = after == 0 ? 0 : 1;
  }
  Action &report = out.add(ActionKind::report);
  report.event_kind = CALYPTE_EVENT_HOLD;
  report.id = kNobody;
  report.a = before;
  report.b = after;
}

// ---- Background

void Scheduler::forget_absence(Job &job) const {
  const uint64_t credit = kCreditNs * kPassScale / job.weight;
  if (least_pass_ > credit) job.pass = std::max(job.pass, least_pass_ - credit);
}

bool Scheduler::background_open() const {
  if (hold_bits_ != 0) return false;
  for (const Job &job : jobs_) {
    if (job.planned) return true;
  }
  return outstanding_total_ > 0;
}

// `granted` only grows: what was granted under an earlier plan stays granted, and `pause` stops it.
void Scheduler::grant(uint32_t id, ActionList &out) {
  Job &job = jobs_[id];
  const uint64_t wanted = std::min(job.staged, job.planned ? job.unit_limit : job.granted);
  if (wanted <= job.granted) return;
  if (job.remaining() == 0) forget_absence(job);
  job.granted = wanted;
  Action &action = out.add(ActionKind::grant);
  action.id = id;
  action.number = wanted;
}

void Scheduler::entry_done(const Event &event) {
  Job &job = jobs_[event.id];
  if (job.outstanding == 0) return;
  const std::vector<Segment> &segments = config_.jobs[event.id].segments;
  const Segment &segment = segments[job.segment];
  const bool whole = whole_in_flight_ == event.id;
  const uint64_t before = job.step_word;
  const uint64_t granted = job.settle(event.busy_ns * kPassScale / job.weight).granted;
  outstanding_total_ -= 1;
  job.stats.entries += 1;
  if (whole) {
    job.stats.gpu_ns[segment.level] += event.busy_ns;
  } else {
    const uint64_t loop_ns = event.busy_ns / 1000 * segment.loop_permille;
    job.stats.gpu_ns[CALYPTE_LEVEL_LOOP] += loop_ns;
    job.stats.gpu_ns[CALYPTE_LEVEL_BLOCK] += event.busy_ns - loop_ns;
  }
  job.unit_spent_ns += event.busy_ns;
  // What the backend read may already be the work of a later entry: this one went to the end of its segment at most.
  const uint32_t end_step = segment.first_step + segment.step_count;
  const bool last = job.segment + 1 == segments.size();
  const uint64_t end = last ? step_word_of(unit_of(before) + 1, 0) : step_word_of(unit_of(before), end_step);
  job.step_word = std::max(before, std::min(end, event.step_word));
  if (unit_of(job.step_word) > unit_of(before)) {
    job.unit_ns = std::max<uint64_t>(1, (3 * job.unit_ns + job.unit_spent_ns) / 4);
    job.unit_spent_ns = 0;
  }
  const uint32_t step = step_of(job.step_word);
  job.segment = 0;
  while (job.segment + 1 < segments.size() && step >= segments[job.segment + 1].first_step) job.segment += 1;
  if (whole) {
    whole_in_flight_ = kNobody;
    job.stats.whole_launches += 1;
    return;
  }
  // It found nothing to do if no unit that it knew of was open before it; otherwise workers left.
  if (job.step_word != end) (unit_of(before) < granted ? job.stats.preemptions : job.stats.skipped_entries) += 1;
}

bool Scheduler::window_allows(uint64_t duration_ns, uint64_t now_ns) const {
  if (critical_pending()) return false;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    const uint64_t next_ns = tasks_[i].next_arrival_ns;
    const bool fits = next_ns != kNever && now_ns + with_margin(duration_ns) <= next_ns;
    if (!fits && duration_ns > config_.tasks[i].max_blocking_ns) return false;
  }
  return true;
}

bool Scheduler::can_ever_fit(uint64_t duration_ns) const {
  for (size_t i = 0; i < tasks_.size(); ++i) {
    const TaskConfig &task = config_.tasks[i];
    const bool fits = has_period(task.source) && with_margin(duration_ns) <= task.period_ns;
    if (!fits && duration_ns > task.max_blocking_ns) return false;
  }
  return true;
}

// One entry more than there are units: the successor that resumes a preempted one. Without parking the host
// resumes. Of a job with several segments only the one at hand can be entered.
bool Scheduler::wants_entry(uint32_t id) const {
  const Job &job = jobs_[id];
  const uint64_t units = config_.jobs[id].segments.size() > 1 ? 1 : job.remaining();
  return job.outstanding < units + (config_.parked_resume ? 1 : 0);
}

// The job with work and the least GPU time for its weight, leaving out the bits in `skip`.
uint32_t Scheduler::choose_job(uint32_t skip) const {
  uint32_t best = kNobody;
  for (uint32_t id = 0; id < jobs_.size(); ++id) {
    const Job &job = jobs_[id];
    if ((skip >> id & 1) != 0 || !job.planned || job.remaining() == 0) continue;
    if (best == kNobody || job.pass < jobs_[best].pass) best = id;
  }
  return best;
}

void Scheduler::refill(uint64_t now_ns, ActionList &out) {
  if (!started_ || hold_bits_ != 0 || whole_in_flight_ != kNobody) return;
  if (!config_.parked_resume && critical_pending()) return;
  uint32_t target = config_.parked_resume ? kEntriesAheadTarget : kEntriesAheadHostResume;
  uint32_t skip = 0;  // jobs whose `whole` step has no window now
  while (outstanding_total_ < target) {
    const uint32_t id = choose_job(skip);
    if (id == kNobody) return;
    Job &job = jobs_[id];
    const Segment &segment = config_.jobs[id].segments[job.segment];
    least_pass_ = std::max(least_pass_, job.pass);
    if (segment.whole && !window_allows(segment.estimate_ns, now_ns)) {
      // While a step waits for a window, the others queue little ahead of it, or the window closes while they end.
      if (can_ever_fit(segment.estimate_ns)) target = 1;
      report_refusal(id, segment, out);
      skip |= 1u << id;
      continue;
    }
    // It is this job's turn, and it has all that it can use queued: what is queued of the others keeps the GPU busy.
    if (!wants_entry(id)) return;
    // A `whole` step starts only on an empty stream, so that the window that was checked is the one it runs in.
    if (segment.whole && outstanding_total_ > 0) return;
    job.charge((segment.whole ? segment.estimate_ns : job.unit_ns) * kPassScale / job.weight);
    outstanding_total_ += 1;
    Action &action = out.add(segment.whole ? ActionKind::launch_whole : ActionKind::enqueue_entry);
    action.id = id;
    action.segment = job.segment;
    action.step_word = job.step_word;
    if (segment.whole) {
      whole_in_flight_ = id;
      return;
    }
  }
}

void Scheduler::report_refusal(uint32_t id, const Segment &segment, ActionList &out) {
  Job &job = jobs_[id];
  if (job.refusal_reported || can_ever_fit(segment.estimate_ns)) return;
  job.refusal_reported = true;
  Action &report = out.add(ActionKind::report);
  report.event_kind = CALYPTE_EVENT_WHOLE_REFUSED;
  report.id = id;
  report.a = segment.first_step;
  report.b = static_cast<int64_t>(segment.estimate_ns);
}

}  // namespace calypte::core
