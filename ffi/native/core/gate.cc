// When does the gate close, beside what every critical launch does by itself? Ahead of a request that is expected,
// between two requests of which one waits, and, for a task that need not be served at once, not before its deadline
// asks for it.
#include <algorithm>

#include "core/scheduler_state.h"

namespace calypte::core {
namespace {

// A job's drain until it has been measured.
constexpr uint64_t kUnknownDrainNs = 30'000;
// What it takes to write a gate word, and the least and the most that the gate closes ahead.
constexpr uint64_t kWriteNs = 3'000, kLeastMarginNs = 8'000, kMostMarginNs = 400'000;
// A learned window is kept closed this much longer.
constexpr uint64_t kLateNs = 20'000;
// Between the latest start of a deferred request and its deadline, beside its execution and the drain: the host's
// launch latency with a scheduler that was asleep.
constexpr uint64_t kStartMarginNs = 100'000;
// An awaited request is worth this many times the background time that awaiting saves it in latency.
constexpr uint64_t kWorth = 10;

// With a job in another process: its context has to make way too, which an empty kernel asks for. That kernel is launched
// when the last entry has been seen to end, up to 50 us after it has; launched 200 us ahead of the critical work it left
// the GPU as if it had been idle, 100 us ahead it did not.
constexpr uint64_t kSwitchMarginNs = 250'000, kMostSwitchMarginNs = 800'000;

// More than this part of all time closed ahead is too much: at 1 kHz 40 us each, or 100 Hz with a change of contexts.
constexpr uint64_t kMostLostPpm = 40'000, kMostLostToSwitchPpm = 100'000;

constexpr uint64_t minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

}  // namespace

// ---- What is known of durations

// What an execution of task `id` hardly ever exceeds.
uint64_t Scheduler::execution_ns(uint32_t id) const {
  const TaskConfig &config = config_.tasks[id];
  const uint64_t at_load_ns = std::max(config.worst_ns, config.estimate_ns + config.estimate_ns / 8);
  const uint64_t seen_ns = learned_[clocks_].executions[id].quantile(999, 100);
  return std::max(seen_ns, at_load_ns);
}

// From closing the gate until background is gone, whichever job it is that runs.
uint64_t Scheduler::drain_ns() const {
  uint64_t longest_ns = 0;
  for (size_t id = 0; id < jobs_.size(); ++id) {
    if (!jobs_[id].planned) continue;
    // To be late for an isolated one costs a change of contexts, which is more than most requests take to be served.
    const uint32_t permille = isolated(static_cast<uint32_t>(id)) ? 998 : 980;
    const uint64_t seen_ns = learned_[clocks_].drains[id].quantile(permille, 20);
    const uint64_t at_load_ns = config_.jobs[id].drain_ns == 0 ? kUnknownDrainNs : config_.jobs[id].drain_ns;
    longest_ns = std::max(longest_ns, seen_ns == 0 ? at_load_ns : seen_ns);
  }
  return longest_ns;
}

// Critical work of task `id` may find the GPU in another context than its own.
bool Scheduler::may_switch(uint32_t id) const {
  if (external(id)) return true;
  for (uint32_t job = 0; job < jobs_.size(); ++job) {
    if (isolated(job) && jobs_[job].planned && jobs_[job].present) return true;
  }
  return false;
}

uint64_t Scheduler::margin_ns(uint32_t id) const {
  if (may_switch(id)) return std::min(drain_ns() + kSwitchMarginNs, kMostSwitchMarginNs);
  return std::clamp(drain_ns() + kWriteNs, kLeastMarginNs, kMostMarginNs);
}

// ---- Deferring

// When the waiting requests must start at the latest so that all meet their deadlines, in their order, with what is
// expected to arrive before.
uint64_t Scheduler::latest_start_ns(uint64_t now_ns) const {
  uint64_t latest_ns = kNever;
  for (uint32_t last = 0; last < tasks_.size(); ++last) {
    if (tasks_[last].waiting == 0) continue;
    const uint64_t deadline_ns = tasks_[last].front().deadline_ns;
    uint64_t needed_ns = drain_ns() + kStartMarginNs;
    // The next arrival would push it out of a full queue, or find no room.
    if (tasks_[last].waiting >= config_.tasks[last].queue_depth) {
      const Window next = expected(last, now_ns);
      latest_ns = std::min(latest_ns, next.known() ? minus(next.begin_ns, needed_ns) : 0);
    }
    for (uint32_t id = 0; id < tasks_.size(); ++id) {
      const Task &task = tasks_[id];
      uint64_t requests = task.waiting > 0 && task.front().deadline_ns <= deadline_ns ? task.waiting : 0;
      const Window next = expected(id, now_ns);
      const uint64_t period_ns =
          std::max<uint64_t>(periodic(id) ? config_.tasks[id].period_ns : task.rhythm.period_ns(), 1);
      if (next.known() && next.begin_ns < deadline_ns && id != last)
        requests += 1 + (deadline_ns - next.begin_ns) / period_ns;
      needed_ns += requests * execution_ns(id);
    }
    latest_ns = std::min(latest_ns, minus(deadline_ns, needed_ns));
  }
  return latest_ns;
}

// Whether the request at the front of task `id` may let what runs in the background come to its end.
bool Scheduler::may_wait(uint32_t id, uint64_t now_ns) {
  if (head_begin_ns_ == kNever || closing_ns_ != 0) return false;
  for (uint32_t other = 0; other < tasks_.size(); ++other) {
    const Task &task = tasks_[other];
    if (task.gate != Gate::open) return false;
    // Nobody is kept waiting who asked to be served at once.
    if (task.waiting > 0 && config_.tasks[other].yield != CALYPTE_YIELD_WHEN_NEEDED) return false;
    // What may come at any time cannot be allowed for.
    if (other != id && !periodic(other) && !task.rhythm.regular()) return false;
  }
  const uint32_t head = order_[oldest_];
  const Job &job = jobs_[head];
  // A merged launch is known by its own bound; an entry may hold several units.
  const uint64_t whole_ns = job.entries[job.oldest].safe_ns;
  const uint64_t entry_ns = config_.jobs[head].units_per_entry * segment_ns(head, job.segment);
  const uint64_t rest_ns = whole_ns > 0 ? whole_ns : minus(entry_ns, job.unit_spent_ns);
  const uint64_t latest_ns = latest_start_ns(now_ns);
  if (now_ns >= latest_ns || head_begin_ns_ + rest_ns > latest_ns) return false;
  deferred_until_ns_ = latest_ns;
  return true;
}

// ---- Closing ahead

// When the next request of task `id` may come.
Window Scheduler::expected(uint32_t id, uint64_t now_ns) const {
  if (periodic(id)) return {tasks_[id].next_arrival_ns, tasks_[id].next_arrival_ns};
  if (tasks_[id].expect_ns != kNever) return expected_outside(id, now_ns);
  return tasks_[id].rhythm.next_window(now_ns, kWorth * drain_ns());
}

void Scheduler::plan_closing(uint32_t id, uint64_t now_ns) {
  Task &task = tasks_[id];
  task.close_at_ns = task.reopen_at_ns = kNever;
  if (!task.anticipation.on()) return;
  const Window window = expected(id, now_ns);
  if (!window.known()) return;
  task.close_at_ns = minus(window.begin_ns, margin_ns(id));
  // What we time ourselves comes for certain.
  if (!periodic(id)) task.reopen_at_ns = window.end_ns + kLateNs;
}

// A request of task `id` arrived.
void Scheduler::meet(uint32_t id, uint64_t arrival_ns) {
  Task &task = tasks_[id];
  if (!periodic(id)) task.rhythm.arrived(arrival_ns);
  if (task.gate == Gate::ahead) {
    task.anticipation.settle(minus(arrival_ns, task.ahead_ns), true);
    task.gate = Gate::waiting;
  }
  plan_closing(id, arrival_ns);
}

void Scheduler::write_task_gate(uint32_t id, bool closed, ActionList &out) {
  Action &action = out.add(ActionKind::task_gate);
  action.id = id;
  action.number = closed ? 1 : 0;
}

void Scheduler::write_soft_gate(bool closed, ActionList &out) {
  if (soft_closed_ == closed) return;
  soft_closed_ = closed;
  soft_release_ns_ = kNever;
  out.add(ActionKind::soft_gate).number = closed ? 1 : 0;
}

// The task gates and the soft gate as they should be now.
void Scheduler::keep_gates(uint64_t now_ns, ActionList &out) {
  const bool idle = in_flight_task_ == kNobody;
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    Task &task = tasks_[id];
    const uint64_t most_lost_ppm = may_switch(id) ? kMostLostToSwitchPpm : kMostLostPpm;
    uint64_t lost_ppm = 0;
    if (const auto verdict = task.anticipation.judge(now_ns, most_lost_ppm, lost_ppm);
        verdict != Anticipation::Verdict::same) {
      plan_closing(id, now_ns);
      Action &report = out.add(ActionKind::report);
      report.event_kind = CALYPTE_EVENT_ANTICIPATION;
      report.id = id;
      report.a = verdict == Anticipation::Verdict::on ? 1 : 0;
      report.b = static_cast<int64_t>(lost_ppm);
    }
    if (in_flight_task_ == id || reserved(id)) continue;  // its graph keeps its gate, or it has none
    const bool waits = task.outside_count > 0 || (task.waiting > 0 && !idle && !reserved(in_flight_task_));
    // Ahead only where there is someone to drive away.
    const bool ahead = task.waiting == 0 && task.outside_count == 0 && background_open() &&
                       now_ns >= task.close_at_ns && now_ns < task.reopen_at_ns;
    if (task.gate == Gate::open && (waits || ahead)) {
      task.gate = ahead ? Gate::ahead : Gate::waiting;
      task.ahead_ns = now_ns;
      background_closes(now_ns);
      write_task_gate(id, true, out);
      wake_due_ |= ahead && turn_ != kNobody;
      if (ahead && external(id)) wake_outside_ |= 1u << id;
    } else if (task.gate != Gate::open && !waits && !ahead) {
      if (task.gate == Gate::ahead) {
        task.anticipation.settle(now_ns - task.ahead_ns, false);
        plan_closing(id, now_ns);
      }
      task.gate = Gate::open;
      write_task_gate(id, false, out);
      background_begins(now_ns);
    }
  }
  // Not while an entry runs through behind the closed gate: between two of its kernels the GPU would change contexts,
  // and change back for the rest.
  if (outstanding_total_ == 0) {
    if (wake_due_ && idle && !tasks_open()) out.add(ActionKind::wake);
    wake_due_ = false;
    for (uint32_t id = 0; wake_outside_ >> id != 0; ++id) {
      if ((wake_outside_ >> id & 1) != 0 && tasks_[id].gate == Gate::ahead) out.add(ActionKind::wake_outside).id = id;
    }
    wake_outside_ = 0;
  }
  if (deferred_until_ns_ != kNever || long_must_wait(now_ns)) {
    write_soft_gate(true, out);
  } else if (soft_closed_ && (idle || now_ns >= soft_release_ns_)) {
    write_soft_gate(false, out);
    background_begins(now_ns);
  }
}

// A queued `whole` launch was given a window that began when it was queued. While the gate is closed that window
// passes: the launch must not begin by itself when the gate opens, but when there is a window for it again.
bool Scheduler::long_must_wait(uint64_t now_ns) const {
  if (long_outstanding_ == 0) return false;
  if (hold_bits_ != 0 || !tasks_open()) return true;
  const Job &job = jobs_[order_[oldest_]];
  const Job::Entry &head = job.entries[job.oldest];
  return head_begin_ns_ == kNever && head.needs_window && !window_allows(head.safe_ns, head.safe_ns, now_ns);
}

uint64_t Scheduler::next_gate_ns() const {
  uint64_t next_ns = deferred_until_ns_;
  if (soft_closed_ && soft_release_ns_ > now_ns_) next_ns = std::min(next_ns, soft_release_ns_);
  const bool open = background_open();
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    const Task &task = tasks_[id];
    if (task.gate == Gate::ahead) next_ns = std::min(next_ns, task.reopen_at_ns);
    // Once the window has passed nothing comes of it: the next one is planned when a request comes.
    const bool may_close = now_ns_ < task.reopen_at_ns;
    if (task.gate == Gate::open && open && may_close && task.waiting == 0 && task.outside_count == 0 &&
        in_flight_task_ != id)
      next_ns = std::min(next_ns, std::max(task.close_at_ns, now_ns_ + 1));
  }
  return next_ns;
}

// ---- What the background stream does meanwhile

bool Scheduler::tasks_open() const {
  if (in_flight_task_ != kNobody && !reserved(in_flight_task_)) return false;
  return std::all_of(tasks_.begin(), tasks_.end(), [](const Task &task) { return task.gate == Gate::open; });
}

bool Scheduler::gate_open() const { return hold_bits_ == 0 && !soft_closed_ && tasks_open(); }

void Scheduler::background_begins(uint64_t now_ns) {
  if (outstanding_total_ > 0 && head_begin_ns_ == kNever && gate_open()) head_begin_ns_ = now_ns;
}

void Scheduler::background_closes(uint64_t now_ns) {
  if (head_begin_ns_ != kNever && closing_ns_ == 0) closing_ns_ = now_ns;
}

}  // namespace calypte::core
