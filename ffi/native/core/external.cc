// Critical work of other processes: they say when it begins and when it has ended. The gate is closed in between, and
// ahead of what they expect; what they do with the GPU is theirs.
#include <algorithm>

#include "core/scheduler_state.h"

namespace calypte::core {
namespace {

// A request that was announced may come so much later.
constexpr uint64_t kLateNs = 2'000'000;

}  // namespace

void Scheduler::outside_begin(const Event &event, ActionList &out) {
  Task &task = tasks_[event.id];
  if (task.outside_count == kMostOutside) outside_over(event.id, 0, event.time_ns, true, out);
  const TaskConfig &config = config_.tasks[event.id];
  task.stats.requests += 1;
  task.expect_ns = kNever;
  meet(event.id, event.time_ns);
  const uint64_t from_ns = config.from == CALYPTE_FROM_SENSOR && event.sensor_ns != 0 ? event.sensor_ns : event.time_ns;
  const uint64_t deadline_ns = from_ns + config.deadline_ns;
  task.outside[task.outside_count++] = {
      {task.next_number++, event.time_ns, event.sensor_ns, deadline_ns, event.time_ns, critical_busy_ns_},
      event.number};
  if (in_flight_task_ != kNobody || task.outside_count > 1) return;
  drain_job_ = head_begin_ns_ == kNever ? kNobody : order_[oldest_];
  drained_ns_ = 0;
}

void Scheduler::outside_end(uint32_t id, uint64_t mark, uint64_t time_ns, ActionList &out) {
  const Task &task = tasks_[id];
  for (uint32_t i = 0; i < task.outside_count; ++i) {
    if (task.outside[i].mark == mark) return outside_over(id, i, time_ns, false, out);
  }
}

void Scheduler::outside_over(uint32_t id, uint32_t index, uint64_t time_ns, bool failed, ActionList &out) {
  Task &task = tasks_[id];
  const Request request = task.outside[index].request;
  for (uint32_t i = index + 1; i < task.outside_count; ++i) task.outside[i - 1] = task.outside[i];
  task.outside_count -= 1;
  account(id, request, std::max(time_ns, request.launch_ns), failed, out);
}

void Scheduler::outside_expect(uint32_t id, uint64_t time_ns, uint64_t now_ns) {
  Task &task = tasks_[id];
  task.expect_ns = time_ns;
  if (task.gate == Gate::open && task.outside_count == 0) plan_closing(id, now_ns);
}

// As announced; once that has passed, as learned.
Window Scheduler::expected_outside(uint32_t id, uint64_t now_ns) const {
  const Task &task = tasks_[id];
  if (now_ns <= task.expect_ns + kLateNs) return {task.expect_ns, task.expect_ns + kLateNs};
  return task.rhythm.next_window(now_ns, 0);
}

}  // namespace calypte::core
