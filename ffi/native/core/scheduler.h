// What should the GPU do next? A pure state machine: event and time in, actions out.
//
// It reads no clock, allocates nothing after `start`, and knows neither CUDA nor threads. The two
// backends carry out its actions and feed it events; what is proven on the simulator therefore holds
// on the device. It does not move data: staging inputs and collecting outputs is the backends' work.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <vector>

#include "calypte.h"

namespace calypte::core {

inline constexpr uint64_t kNever = UINT64_MAX;
inline constexpr uint32_t kNobody = UINT32_MAX;

// The step word of docs/PREEMPTION.md.
inline constexpr uint32_t kStepBits = 16;
constexpr uint64_t unit_of(uint64_t step_word) { return step_word >> kStepBits; }
constexpr uint32_t step_of(uint64_t step_word) { return static_cast<uint32_t>(step_word & 0xffff); }
constexpr uint64_t step_word_of(uint64_t unit, uint32_t step) { return unit << kStepBits | step; }
static_assert(CALYPTE_MAX_STEPS < 1 << kStepBits);

// Entries kept queued ahead while background runs: enough that a preempted entry has a successor
// parked behind it and that the host has two short units of time to refill, few enough that a new
// plan takes hold soon.
inline constexpr uint32_t kEntriesAheadTarget = 6;
static_assert(kEntriesAheadTarget <= CALYPTE_MAX_ENTRIES_AHEAD);

// Requests come by a period of the engine's own, not when somebody sends them.
constexpr bool has_period(uint32_t source) { return source == CALYPTE_SOURCE_NONE || source == CALYPTE_SOURCE_FRAMES; }

struct TaskConfig {
  uint32_t source = CALYPTE_SOURCE_API;
  uint32_t queue = CALYPTE_QUEUE_LATEST;
  uint32_t queue_depth = 1;
  uint32_t from = CALYPTE_FROM_ARRIVAL;
  uint32_t on_miss = CALYPTE_ON_MISS_PUBLISH_LATE;
  uint32_t yield = CALYPTE_YIELD_ALWAYS;
  bool anticipate = false;
  uint64_t period_ns = 0;
  uint64_t phase_ns = 0;
  uint64_t deadline_ns = 0;
  uint64_t max_blocking_ns = 0;
  uint64_t estimate_ns = 0;
};

// Consecutive steps that are launched together: any number that read the gate, or one that does not (`whole`).
struct Segment {
  uint32_t first_step = 0;
  uint32_t step_count = 0;
  bool whole = false;
  uint32_t level = CALYPTE_LEVEL_BLOCK;  // of its first step
  uint32_t loop_permille = 0;            // share of its time that runs at level LOOP, of 1000; whole: 0
  uint64_t estimate_ns = 0;
};

struct JobConfig {
  std::vector<Segment> segments;  // in order, without gaps, from step 0
  uint64_t estimate_ns = 0;       // of a unit; > 0
  uint64_t drain_ns = 0;          // longest from closing the gate to the last worker gone, as measured at load; 0: unknown
};

struct SchedulerConfig {
  std::vector<TaskConfig> tasks;
  std::vector<JobConfig> jobs;
  bool parked_resume = true;  // false: entries are enqueued only while no critical work waits or runs
  bool reserved_sms = false;  // tasks that yield RESERVED run beside background
};

struct Request {
  uint64_t number = 0;
  uint64_t arrival_ns = 0;
  uint64_t sensor_ns = 0;
  uint64_t deadline_ns = 0;
  uint64_t launch_ns = 0;
};

enum class EventKind : uint8_t {
  tick,           // time has passed
  arrival,        // task without a period: request `number` arrived at time_ns with sensor_ns
  refused,        // ... : a request found no slot; counted as dropped
  critical_done,  // task `id`, its output complete at time_ns
  critical_failed,
  unit_ready,  // job `id`: `number` units in all have their input staged and room for their output
  entry_done,  // job `id`: its oldest entry ended; step_word as read after it; busy_ns is the GPU time it took
  job_sample,  // job `id`: leaves as counted on the device so far
  plan,        // a new plan
  hold,        // bits `number` set (on) or cleared
  clocks,      // durations are from now on those of clock key `number`
  fault,       // the backend cannot go on
};

struct Event {
  EventKind kind = EventKind::tick;
  bool on = false;
  uint32_t id = 0;
  uint64_t number = 0;
  uint64_t time_ns = 0;
  uint64_t sensor_ns = 0;
  uint64_t step_word = 0;
  uint64_t busy_ns = 0;
  uint64_t leaves = 0;
  const calypte_plan *plan = nullptr;
};

enum class ActionKind : uint8_t {
  launch_critical,   // task `id`, request
  task_gate,         // task `id`: write `number` (1: closed, 0) into its gate word, in its stream
  soft_gate,         // entries that have not begun wait while it is 1 (`number`); those that run go on
  drop_request,      // task `id`, request: it will never run
  complete_request,  // task `id`, request: publish it; `late`; payload unless late and on_miss is drop
  fail_request,
  set_hold,       // write `number` into the hold word
  grant,          // job `id`: granted = number
  pause,          // job `id`: its pause word = number (0 or 1)
  enqueue_entry,  // job `id`, segment
  launch_whole,   // job `id`, segment (one step) and unit in step_word; `number`: consecutive segments in one launch
  report,         // event_kind, id, a, b
};

struct Action {
  ActionKind kind = ActionKind::report;
  bool late = false;
  uint32_t id = 0;
  uint32_t segment = 0;
  uint32_t event_kind = 0;
  uint64_t number = 0;
  uint64_t step_word = 0;
  uint64_t done_ns = 0;
  int64_t a = 0;
  int64_t b = 0;
  Request request;
};

// Fixed room. Arrivals that a dispatcher slept through are taken up to half of it at a time; what else one step
// can ask for (full queues dropped, a plan for every job, the entries refilled) fits into the other half.
class ActionList {
 public:
  void clear() { count_ = 0; }
  bool half_full() const { return count_ >= kCapacity / 2; }
  Action &add(ActionKind kind) {
    assert(count_ < kCapacity);
    Action &action = actions_[count_++];
    action = Action{};
    action.kind = kind;
    return action;
  }
  const Action *begin() const { return actions_.data(); }
  const Action *end() const { return actions_.data() + count_; }
  uint32_t size() const { return count_; }

 private:
  static constexpr uint32_t kCapacity = 512;
  std::array<Action, kCapacity> actions_{};
  uint32_t count_ = 0;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerConfig &config);
  ~Scheduler();

  // Begins at `now_ns`: tasks with frames arrive from now + phase on. Nothing runs in the background before a plan.
  void start(uint64_t now_ns, ActionList &out);

  // `now_ns` never goes back. Events carry their own times, which may lie a little before `now_ns`.
  void step(const Event &event, uint64_t now_ns, ActionList &out);

  // When `step` with a tick is next of use; kNever if only an event can change anything.
  uint64_t next_wakeup_ns() const;

  bool critical_in_flight() const { return in_flight_task_ != kNobody; }
  // Background may run now, so that its progress is worth a look.
  bool background_open() const;
  uint32_t hold_bits() const { return hold_bits_; }

  // Fills what the scheduler knows of the snapshot (all but identity, state and dispatcher fields).
  void snapshot(uint64_t now_ns, calypte_snapshot &out) const;

 private:
  struct Task;
  struct Job;

  void arrive_due(uint64_t now_ns, ActionList &out);
  void arrive(uint32_t id, uint64_t arrival_ns, uint64_t sensor_ns, ActionList &out);
  void drop(uint32_t id, const Request &request, ActionList &out);
  void count_miss(Task &task);
  void finish(uint32_t id, uint64_t done_ns, bool failed, ActionList &out);
  void launch_next(uint64_t now_ns, ActionList &out);
  uint64_t watchdog_ns(uint32_t id) const;
  void watch(uint64_t now_ns, ActionList &out);

  void accept_plan(const calypte_plan &plan, uint64_t now_ns, ActionList &out);
  void change_hold(uint32_t bits, bool on, ActionList &out);
  void grant(uint32_t id, ActionList &out);
  void entry_done(const Event &event);
  void refill(uint64_t now_ns, ActionList &out);
  void report_refusal(uint32_t id, const Segment &segment, ActionList &out);
  uint32_t choose_job(uint32_t skip) const;
  void forget_absence(Job &job) const;
  bool wants_entry(uint32_t id) const;
  bool window_allows(uint64_t duration_ns, uint64_t now_ns) const;
  bool can_ever_fit(uint64_t duration_ns) const;
  bool critical_pending() const;

  SchedulerConfig config_;
  std::vector<Task> tasks_;
  std::vector<Job> jobs_;
  uint32_t in_flight_task_ = kNobody;
  uint32_t whole_in_flight_ = kNobody;
  uint32_t outstanding_total_ = 0;
  uint32_t hold_bits_ = CALYPTE_HOLD_NO_PLAN;
  uint64_t lease_end_ns_ = kNever;
  uint64_t plan_id_ = 0;
  uint64_t lease_expired_ = 0;
  uint64_t safe_mode_ = 0;
  uint64_t critical_busy_ns_ = 0;
  uint64_t least_pass_ = 0;
  bool started_ = false;
  bool watchdog_fired_ = false;
};

}  // namespace calypte::core
