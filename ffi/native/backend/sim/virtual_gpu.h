// How long do critical work and background take beside each other on a GPU that does not exist? The timing
// model: a gate, one critical stream for each task, one background stream. It keeps no clock and moves no
// data; every constant below carries the measurement that it stands for (H200, see docs/PREEMPTION.md).
//
// Rough where it may be: blocks of one step take equal time, copies have one speed, critical work that
// overlaps shares the GPU evenly, and background that is draining does not slow the critical work down.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "backend/sim/estimates.h"
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

  uint32_t step() const { return core::step_of(step_word); }
  uint64_t unit() const { return core::unit_of(step_word); }
};

class VirtualGpu {
 public:
  VirtualGpu(uint64_t seed, Timeline &timeline, GpuHost &host)
      : seed_(seed), rng_(seed, 0, 0), timeline_(timeline), host_(host) {}

  void add_task(const GpuTask &task) { tasks_.push_back(task); }
  void add_job(GpuJob job) { jobs_.push_back(std::move(job)); }
  void use_parked_resume(bool on) { parked_ = on; }

  void launch_critical(uint32_t task, uint64_t number, uint64_t now_ns);
  void set_hold(bool on, uint64_t now_ns);
  void set_pause(uint32_t job, bool on, uint64_t now_ns);
  void set_granted(uint32_t job, uint64_t units) { jobs_[job].granted = units; }
  // Both return false if the stream already holds CALYPTE_MAX_ENTRIES_AHEAD: the scheduler broke its promise.
  bool enqueue(uint32_t job, uint32_t segment, uint64_t now_ns) {
    return append({job, segment, false, jobs_[job].granted}, now_ns);
  }
  bool launch_whole(uint32_t job, uint32_t segment, uint64_t now_ns) {
    return append({job, segment, true, jobs_[job].granted}, now_ns);
  }

  // Carries out a timer of the kinds gate_close..entry_end.
  void on_timer(const Timer &timer);

  const GpuJob &job(uint32_t id) const { return jobs_[id]; }
  bool background_busy() const { return count_ > 0 && stream_ != Stream::waiting; }

 private:
  struct Entry {
    uint32_t job = 0;
    uint32_t segment = 0;
    bool whole = false;
    uint64_t granted = 0;  // units, as the entry itself brings it along
  };
  enum class Stream : uint8_t { idle, waiting, starting, running, leaving, ending };
  struct Active {
    bool on = false;
    uint64_t remaining_ns = 0;
  };

  bool append(const Entry &entry, uint64_t now_ns);
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

  void critical_start(uint32_t task, uint64_t now_ns);
  void critical_end(uint64_t now_ns);
  void share(uint64_t now_ns);
  void plan_critical_end(uint64_t now_ns);

  Entry &head() { return entries_[first_]; }
  const GpuStep &head_step() { return jobs_[head().job].steps[jobs_[head().job].step()]; }

  const uint64_t seed_;
  Rng rng_;
  Timeline &timeline_;
  GpuHost &host_;
  std::vector<GpuTask> tasks_;
  std::vector<GpuJob> jobs_;
  bool parked_ = true;

  uint32_t task_words_ = 0;  // bit set
  bool hold_ = false;

  std::array<Entry, CALYPTE_MAX_ENTRIES_AHEAD> entries_{};
  uint32_t first_ = 0;
  uint32_t count_ = 0;
  Stream stream_ = Stream::idle;
  uint64_t generation_ = 0;     // only the newest timer of the stream counts
  uint64_t run_begin_ns_ = 0;   // of the step that runs
  uint64_t run_ns_ = 0;         // how long it takes from there if nothing closes the gate
  uint64_t free_ns_ = 0;        // when the step that runs will have left the GPU
  uint64_t entry_busy_ns_ = 0;  // of the entry at the head, so far

  std::array<uint64_t, CALYPTE_MAX_TASKS> numbers_{};
  std::array<Active, CALYPTE_MAX_TASKS> active_{};
  uint32_t active_count_ = 0;
  uint64_t shared_until_ns_ = 0;
  uint64_t sharing_ = 0;  // generation of the critical end
};

}  // namespace calypte::sim
