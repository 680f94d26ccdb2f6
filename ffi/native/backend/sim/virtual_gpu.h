// How long do critical work and background take beside each other on a GPU that does not exist? The timing
// model: a gate, one critical stream for each task, one background stream. It keeps no clock and moves no
// data; its times are those of profile.h.
//
// Rough where it may be: blocks of one step take equal time, copies have one speed, critical work that
// overlaps shares the GPU evenly, background that is draining does not slow the critical work down, and hold, pause
// and soft gate reach the GPU at once.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "backend/sim/estimates.h"
#include "backend/sim/observer.h"
#include "backend/sim/profile.h"
#include "backend/sim/rng.h"
#include "backend/sim/timeline.h"
#include "core/scheduler.h"

namespace calypte::sim {

// What the virtual GPU tells the host.
class GpuHost {
 public:
  virtual ~GpuHost() = default;
  virtual void critical_done(uint32_t task, uint64_t time_ns) = 0;
  virtual void entry_done(uint32_t job, uint64_t step_word, uint64_t busy_ns, uint64_t time_ns) = 0;
  virtual void unit_done(uint32_t job, uint64_t unit, uint64_t time_ns) = 0;
  virtual void background_runs(uint64_t time_ns) = 0;
};

struct GpuTask {
  uint64_t estimate_ns = 1;
  uint64_t output_copy_ns = 0;
  bool beside = false;                // on SMs of its own: it closes no gate and waits for nobody
  std::vector<uint64_t> durations{};  // replayed: of request n the one at n modulo their count; 0 and none: drawn
};

struct GpuJob {
  std::vector<GpuStep> steps;
  std::vector<core::Segment> segments;
  uint64_t step_word = 0;
  uint64_t granted = 0;
  uint32_t blocks_done = 0;  // of the current step
  bool paused = true;
  uint64_t busy_ns = 0;  // of all entries
  uint64_t leaves = 0;
  std::vector<uint64_t> durations{};  // replayed, of units, as for a task

  uint32_t step() const { return core::step_of(step_word); }
  uint64_t unit() const { return core::unit_of(step_word); }
};

inline constexpr uint64_t kFaultDraws = 1'000;  // kinds of an Rng

class VirtualGpu {
 public:
  VirtualGpu(uint64_t seed, Timeline &timeline, GpuHost &host)
      : seed_(seed), rng_(seed, 0, 0), timeline_(timeline), host_(host), fault_rng_(seed, kFaultDraws, 0) {}

  // Before anything else.
  void set_conditions(const Conditions &conditions) {
    conditions_ = conditions;
    step_deviation_ = deviation(conditions.profile.step_deviation_ppm);
  }
  void observe(GpuObserver *observer) { observer_ = observer; }
  void add_task(GpuTask task) { tasks_.push_back(std::move(task)); }
  void add_job(GpuJob job) { jobs_.push_back(std::move(job)); }
  void use_parked_resume(bool on) { parked_ = on; }

  void launch_critical(uint32_t task, uint64_t number, uint64_t now_ns);
  // Writes the task's gate word in its stream, behind what the stream holds.
  void write_task_gate(uint32_t task, bool closed, uint64_t now_ns);
  void set_hold(bool on, uint64_t now_ns);
  void set_soft(bool on, uint64_t now_ns);
  void set_pause(uint32_t job, bool on, uint64_t now_ns);
  void set_granted(uint32_t job, uint64_t units) { jobs_[job].granted = units; }
  // Both return false if the stream already holds CALYPTE_MAX_ENTRIES_AHEAD: the scheduler broke its promise.
  bool enqueue(uint32_t job, uint32_t segment, uint64_t now_ns) { return append(job, segment, 1, false, now_ns); }
  // `count` consecutive segments in one launch.
  bool launch_whole(uint32_t job, uint32_t segment, uint32_t count, uint64_t now_ns) {
    return append(job, segment, count, true, now_ns);
  }

  // Carries out a timer of the kinds critical_op..entry_end.
  void on_timer(const Timer &timer);

  const GpuJob &job(uint32_t id) const { return jobs_[id]; }
  bool background_busy() const { return count_ > 0 && stream_ != Stream::waiting; }

 private:
  struct Entry {
    uint32_t job = 0;
    uint32_t segment = 0;
    uint32_t first_step = 0;
    uint32_t end_step = 0;
    bool whole = false;
    uint64_t granted = 0;  // units, as the entry itself brings it along
  };
  enum class Stream : uint8_t { idle, waiting, starting, running, leaving, ending };
  struct Active {
    bool on = false;
    uint64_t remaining_ns = 0;
  };
  // An operation in a critical stream: a launch, or a gate write.
  struct Operation {
    bool launch = false;
    bool closes = false;
    uint64_t number = 0;
    uint64_t ready_ns = 0;
  };

  bool append(uint32_t job, uint32_t segment, uint32_t count, bool whole, uint64_t now_ns);
  bool must_wait(const Entry &entry) const;
  bool closed_for(const Entry &entry) const { return task_words_ != 0 || hold_ || jobs_[entry.job].paused; }
  void begin_head(uint64_t delay_ns, uint64_t now_ns);
  void entry_start(uint64_t now_ns);
  void start_step(uint64_t now_ns);
  void count_run(uint64_t now_ns);
  void step_end(uint64_t now_ns);
  void leave(uint64_t now_ns);
  void end_entry(uint64_t delay_ns, uint64_t now_ns);
  void entry_end(uint64_t now_ns);
  void gate_closed(uint64_t now_ns);
  void gate_opened(uint64_t now_ns);
  void next_timer(TimerKind kind, uint64_t time_ns) { timeline_.set(kind, time_ns, 0, ++generation_); }

  void push(uint32_t task, const Operation &operation, uint64_t now_ns);
  void next_operation(uint32_t task, uint64_t now_ns);
  void critical_op(uint32_t task, uint64_t now_ns);
  void critical_start(uint32_t task, uint64_t now_ns);
  void critical_end(uint64_t now_ns);
  void share(uint64_t now_ns);
  void plan_critical_end(uint64_t now_ns);

  void set_task_word(uint32_t task, bool closed, uint64_t now_ns);
  void tell_gate(uint64_t now_ns) {
    if (observer_ != nullptr) observer_->gate_changed({task_words_, hold_, soft_}, now_ns);
  }
  void tell_done(uint32_t first, uint32_t count, uint64_t step_word, uint64_t now_ns) {
    if (observer_ != nullptr && count > 0) observer_->blocks_done(head().job, step_word, first, count, now_ns);
  }
  uint64_t alone_ns(const GpuJob &job, uint32_t step);

  Entry &head() { return entries_[first_]; }
  const GpuStep &head_step() { return jobs_[head().job].steps[jobs_[head().job].step()]; }

  const uint64_t seed_;
  Rng rng_;
  Timeline &timeline_;
  GpuHost &host_;
  std::vector<GpuTask> tasks_;
  std::vector<GpuJob> jobs_;
  bool parked_ = true;
  Conditions conditions_;
  double step_deviation_ = deviation(default_profile().step_deviation_ppm);
  Rng fault_rng_;
  GpuObserver *observer_ = nullptr;

  uint32_t task_words_ = 0;  // bit set
  bool hold_ = false;
  bool soft_ = false;

  std::array<Entry, CALYPTE_MAX_ENTRIES_AHEAD> entries_{};
  uint32_t first_ = 0;
  uint32_t count_ = 0;
  Stream stream_ = Stream::idle;
  uint64_t generation_ = 0;     // only the newest timer of the stream counts
  uint64_t run_begin_ns_ = 0;   // of the step that runs
  uint64_t run_ns_ = 0;         // how long it takes from there if nothing closes the gate
  double slowness_ = 1;         // of its blocks, by clocks and faults
  uint64_t free_ns_ = 0;        // when the step that runs will have left the GPU
  uint64_t entry_busy_ns_ = 0;  // of the entry at the head, so far

  std::array<std::deque<Operation>, CALYPTE_MAX_TASKS> streams_{};  // the head may be under way
  std::array<Active, CALYPTE_MAX_TASKS> active_{};
  uint32_t active_count_ = 0;
  uint64_t shared_until_ns_ = 0;
  uint64_t sharing_ = 0;  // generation of the critical end
};

}  // namespace calypte::sim
