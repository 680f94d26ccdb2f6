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
#include "core/learned.h"
#include "core/rhythm.h"
#include "core/safe_mode.h"

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

// How does a request's input get to its kernels? See choose_input_path.
enum class InputPath : uint32_t {
  only_copied,  // CPU and GPU do not share memory, or the input cannot be mapped
  mapped,       // kernels read it where the CPU wrote it
  copied_is_faster,
  copied_differs,  // the outputs were not the same, bit for bit
};

// Both ways were run on the same input. What is not clearly faster is not worth another way through memory.
constexpr InputPath choose_input_path(uint64_t copied_ns, uint64_t mapped_ns, bool same_output) {
  if (!same_output) return InputPath::copied_differs;
  return mapped_ns + mapped_ns / 100 < copied_ns ? InputPath::mapped : InputPath::copied_is_faster;
}

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
  uint64_t worst_ns = 0;  // launch to completion by itself, as measured at load; 0: the estimate is all that is known
  // Nothing that is scheduled by, but found at load with the rest: where kernels may read the input that the CPU wrote.
  InputPath input_path = InputPath::only_copied;
  uint64_t copy_costs_ns = 0;  // of a request
};

// Consecutive steps that are launched together: any number that read the gate, or one that does not (`whole`).
struct Segment {
  uint32_t first_step = 0;
  uint32_t step_count = 0;
  bool whole = false;
  uint32_t level = CALYPTE_LEVEL_BLOCK;  // of its first step
  uint32_t loop_permille = 0;            // share of its time that runs at level LOOP, of 1000; whole: 0
  uint64_t estimate_ns = 0;
  bool merges = false;  // whole: it and the next one are ranges of one grid, and can be one launch
};

struct JobConfig {
  std::vector<Segment> segments;  // in order, without gaps, from step 0
  uint64_t estimate_ns = 0;       // of a unit; > 0
  uint64_t bound_ns = 0;          // longest that it may keep the GPU after the gate has closed; 0: no bound
  uint32_t units_per_entry = 1;   // an entry runs up to so many units; 1 with several segments
  uint64_t drain_ns = 0;       // longest from closing the gate to the last worker gone, as measured at load; 0: unknown
  bool isolated = false;       // it lives in a process of its own, which may come and go
  uint64_t kill_after_ns = 0;  // isolated: how long an entry may stay behind a closed gate
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
  uint64_t busy_before_ns = 0;  // what critical requests had taken of the GPU when it arrived
  uint64_t queued_ns = 0;       // of arrival to launch: others of them had the GPU
  uint64_t deferred_ns = 0;     // ... it let background run on
};

enum class EventKind : uint8_t {
  tick,           // time has passed
  arrival,        // task without a period: request `number` arrived at time_ns with sensor_ns
  refused,        // ... : a request found no slot; counted as dropped
  critical_done,  // task `id`, its output complete at time_ns
  critical_failed,
  unit_ready,      // job `id`: `number` units in all have their input staged and room for their output
  entry_done,      // job `id`: its oldest entry ended; step_word as read after it; busy_ns is the GPU time it took
  job_sample,      // job `id`: leaves and abandoned blocks as counted on the device so far
  plan,            // a new plan
  hold,            // bits `number` set (on) or cleared
  safe_mode,       // the rule of safe mode
  clocks,          // durations are from now on those of clock key `number`
  outside_begin,   // external task `id`: its process has begun request `number`, as it calls it, at time_ns, with
                   // sensor_ns
  outside_end,     // ... has ended it
  outside_expect,  // ... will begin one at time_ns
  outside_lost,    // ... has gone
  worker_joined,   // isolated job `id`: its process is there, and begins with the unit behind the last completed one
  worker_lost,     // ... : its process has ended, and what was under way with it
  fault,           // the backend cannot go on
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
  uint64_t abandoned = 0;
  const calypte_plan *plan = nullptr;
  const calypte_safe_mode *safe_mode = nullptr;
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
  wake_outside,   // external task `id`: its process should bring the GPU to its context
  wake,           // an empty kernel into the critical context, so that the GPU comes back to it
  kill_worker,    // isolated job `id`: its process holds the GPU
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
  void clear() { count_ = traces_ = 0; }
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

  // What ended in this step. A request that ends is an action too, so that there is room.
  calypte_trace &trace() {
    assert(traces_ < kCapacity);
    calypte_trace &record = records_[traces_++];
    record = calypte_trace{};
    return record;
  }
  uint32_t traces() const { return traces_; }
  const calypte_trace &traced(uint32_t index) const { return records_[index]; }

 private:
  static constexpr uint32_t kCapacity = 512;
  std::array<Action, kCapacity> actions_{};
  std::array<calypte_trace, kCapacity> records_{};
  uint32_t count_ = 0;
  uint32_t traces_ = 0;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerConfig &config, const calypte_safe_mode &safe_mode = {});
  ~Scheduler();

  // Begins at `now_ns`: tasks with frames arrive from now + phase on. Nothing runs in the background before a plan.
  void start(uint64_t now_ns, ActionList &out);

  // `now_ns` never goes back. Events carry their own times, which may lie a little before `now_ns`.
  void step(const Event &event, uint64_t now_ns, ActionList &out);

  // Nobody could call `step` for a while, until `until_ns`: the machine stood still, or others had its processors. What
  // else was to run meanwhile did not either, and is not judged by that time.
  void stood_still(uint64_t until_ns) { stood_still_until_ns_ = until_ns; }

  // When `step` with a tick is next of use; kNever if only an event can change anything.
  uint64_t next_wakeup_ns() const;

  bool critical_in_flight() const { return in_flight_task_ != kNobody; }
  // A request waits for background to come to its end, so that this is worth seeing at once.
  bool critical_deferred() const { return deferred_until_ns_ != kNever; }
  // Background may run now, so that its progress is worth a look.
  bool background_open() const;
  // Entries of background are on the GPU, or on their way there.
  bool background_at_work() const { return outstanding_total_ > 0; }
  uint32_t hold_bits() const { return hold_bits_; }
  // Nothing keeps background from running: no hold, and no critical work that waits, runs, or is about to.
  bool gate_open() const;
  uint64_t completed_units(uint32_t job) const;

  // Fills what the scheduler knows of the snapshot (all but identity, state and dispatcher fields).
  void snapshot(uint64_t now_ns, calypte_snapshot &out) const;

  // What was learned, for the next scheduler with the same work: learned.cc
  void remember(uint32_t first, MemoryPiece &out) const;
  void recall(const Memories &memories);

 private:
  struct Task;
  struct Job;

  // Critical work: scheduler.cc
  bool account(uint32_t id, const Request &request, uint64_t done_ns, bool failed, ActionList &out);
  bool reserved(uint32_t id) const;
  bool periodic(uint32_t id) const;
  void arrive_due(uint64_t now_ns, ActionList &out);
  void arrive(uint32_t id, uint64_t arrival_ns, uint64_t sensor_ns, ActionList &out);
  void drop(uint32_t id, const Request &request, ActionList &out);
  void count_miss(Task &task);
  uint64_t critical_busy_at(uint64_t time_ns) const;
  void finish(uint32_t id, uint64_t done_ns, bool failed, ActionList &out);
  uint32_t earliest(uint64_t now_ns, ActionList &out);
  void launch_next(uint64_t now_ns, ActionList &out);
  uint64_t watchdog_ns(uint32_t id) const;
  void watch(uint64_t now_ns, ActionList &out);
  bool critical_pending() const;

  // When the gate closes: gate.cc
  uint64_t execution_ns(uint32_t id) const;
  uint64_t drain_ns() const;
  bool may_switch(uint32_t id) const;
  uint64_t margin_ns(uint32_t id) const;
  uint64_t latest_start_ns(uint64_t now_ns) const;
  bool may_wait(uint32_t id, uint64_t now_ns);
  Window expected(uint32_t id, uint64_t now_ns) const;
  void plan_closing(uint32_t id, uint64_t now_ns);
  void meet(uint32_t id, uint64_t arrival_ns);
  uint64_t next_gate_ns() const;
  void keep_gates(uint64_t now_ns, ActionList &out);
  void write_task_gate(uint32_t id, bool closed, ActionList &out);
  void write_soft_gate(bool closed, ActionList &out);
  void background_begins(uint64_t now_ns);
  void background_closes(uint64_t now_ns);
  bool long_must_wait(uint64_t now_ns) const;
  bool tasks_open() const;

  // What is told of it: trace.cc
  void trace_request(uint32_t id, const Request &request, uint64_t end_ns, uint32_t outcome, ActionList &out) const;
  void trace_slice(const Event &event, uint64_t begin_ns, uint64_t step_word, bool preempted, ActionList &out) const;

  // Plan, lease, hold, duty: plan.cc
  void accept_plan(const calypte_plan &plan, uint64_t now_ns, ActionList &out);
  void change_hold(uint32_t bits, bool on, uint64_t now_ns, ActionList &out);
  void keep_lease(uint64_t now_ns, ActionList &out);
  uint64_t next_duty_ns(uint64_t now_ns) const;
  bool keep_safe_mode(uint64_t now_ns, ActionList &out);  // safe_mode.cc: true: it changed
  void change_clocks(uint64_t key, uint64_t now_ns);

  // Jobs in processes of their own: isolation.cc
  bool isolated(uint32_t id) const { return config_.jobs[id].isolated; }
  // What has the GPU when job `id` runs: the job's own context, or (kNobody) the engine's.
  uint32_t context_of(uint32_t id) const { return isolated(id) ? id : kNobody; }
  bool take_turn(uint32_t id, uint64_t now_ns);
  uint32_t least_served(uint32_t skip, bool only_turn) const;
  void worker_joined(uint32_t id, ActionList &out);
  void worker_lost(uint32_t id, uint64_t now_ns, ActionList &out);
  uint64_t kill_at_ns() const;
  uint64_t patience_from_ns(uint64_t since_ns) const;
  void watch_worker(uint64_t now_ns, ActionList &out);
  bool worker_at_work() const { return turn_ != kNobody && outstanding_total_ > 0; }

  // Critical work of other processes: external.cc
  bool external(uint32_t id) const { return config_.tasks[id].source == CALYPTE_SOURCE_EXTERNAL; }
  void outside_begin(const Event &event, ActionList &out);
  void outside_end(uint32_t id, uint64_t mark, uint64_t time_ns, ActionList &out);
  void outside_over(uint32_t id, uint32_t index, uint64_t time_ns, bool failed, ActionList &out);
  void outside_expect(uint32_t id, uint64_t time_ns, uint64_t now_ns);
  Window expected_outside(uint32_t id, uint64_t now_ns) const;

  // Background: background.cc
  void grant(uint32_t id, ActionList &out);
  void entry_done(const Event &event, uint64_t now_ns, ActionList &out);
  void sample(const Event &event, uint64_t now_ns, ActionList &out);
  void refill(uint64_t now_ns, ActionList &out);
  bool refill_once(uint64_t now_ns, uint32_t &skip, uint32_t &target, ActionList &out);
  bool queue_whole(uint32_t id, uint32_t segment, uint64_t now_ns, ActionList &out);
  void queue_entry(uint32_t id, uint32_t segment, uint64_t now_ns, ActionList &out);
  void report_refusal(uint32_t id, uint32_t segment, ActionList &out);
  uint32_t choose_job(uint32_t skip) const;
  uint32_t best_fit(uint32_t first, uint64_t now_ns) const;
  void forget_absence(Job &job) const;
  bool wants_entry(uint32_t id) const;
  uint64_t segment_ns(uint32_t id, uint32_t segment) const;
  uint64_t safe_segment_ns(uint32_t id, uint32_t segment) const;
  uint64_t start_ns() const;
  uint64_t free_ns(uint32_t id, uint64_t now_ns) const;
  bool is_short(uint32_t id, uint32_t segment) const;
  uint64_t whole_rest_ns(uint64_t now_ns) const;
  uint64_t window_ns(uint64_t now_ns) const;
  bool window_allows(uint64_t takes_ns, uint64_t safe_ns, uint64_t now_ns) const;
  bool can_ever_fit(uint64_t takes_ns, uint64_t safe_ns) const;

  SchedulerConfig config_;
  std::vector<Task> tasks_;
  std::vector<Job> jobs_;
  std::vector<Learned> learned_;  // one for each clock key that is remembered
  uint32_t clocks_ = 0;           // the one in force
  uint64_t clock_changes_ = 0;
  uint32_t in_flight_task_ = kNobody;
  uint32_t order_[CALYPTE_MAX_ENTRIES_AHEAD] = {};  // jobs of the outstanding entries, a ring
  uint32_t oldest_ = 0;
  uint32_t outstanding_total_ = 0;
  uint32_t whole_outstanding_ = 0;
  uint32_t long_outstanding_ = 0;    // ... of which so many need a window to begin
  uint64_t whole_queued_ns_ = 0;     // what those take at most, the one that runs included
  uint64_t head_begin_ns_ = kNever;  // when the oldest entry began to run; kNever: it waits
  uint64_t lone_since_ns_ = kNever;  // when the oldest entry was queued, if nothing was queued before it
  uint64_t closing_ns_ = 0;          // when the gate was closed on a running entry; 0: it was not
  uint32_t drain_job_ = kNobody;     // whose entry ran when the request in flight was launched
  uint64_t drained_ns_ = 0;          // when an entry that was closed on last ended
  uint32_t turn_ = kNobody;          // whose context has the GPU when background has it; see context_of
  uint64_t turn_begin_ns_ = 0;
  bool kill_asked_ = false;
  uint64_t stood_still_until_ns_ = 0;
  bool wake_due_ = false;      // once the entries that were under way at closing have come back
  uint32_t wake_outside_ = 0;  // ... for these external tasks, by bit
  bool soft_closed_ = false;
  uint64_t soft_release_ns_ = kNever;  // when the soft gate may open, as the gate itself is closed by then
  uint64_t deferred_until_ns_ = kNever;
  uint32_t hold_bits_ = CALYPTE_HOLD_NO_PLAN;
  uint32_t duty_permille_ = 0;
  uint64_t lease_end_ns_ = kNever;
  uint64_t plan_id_ = 0;
  uint64_t lease_expired_ = 0;
  SafeMode safe_;
  uint64_t safe_mode_ = 0;  // how often entered
  uint64_t critical_busy_ns_ = 0;
  uint64_t least_pass_ = 0;
  uint64_t now_ns_ = 0;  // of the last step
  bool started_ = false;
  bool watchdog_fired_ = false;
};

}  // namespace calypte::core
