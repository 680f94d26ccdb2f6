// What can a test see of the virtual GPU that its host cannot? A listener that is told of everything as it happens,
// so that invariants are checked on the GPU's side and not on what the scheduler believes. For tests only: nothing
// that the caller of the library can reach.
#pragma once

#include <cstdint>

#include "core/scheduler.h"

namespace calypte::sim {

// The gate as background meets it.
struct GateState {
  uint32_t task_words = 0;  // a bit for each task
  bool hold = false;
  bool soft = false;
};

class GpuObserver {
 public:
  virtual ~GpuObserver() = default;
  // An action of the scheduler is about to be carried out.
  virtual void on_action(const core::Action &, uint64_t) {}
  // `units` of a job are now staged in all.
  virtual void on_staged(uint32_t, uint64_t, uint64_t) {}
  // Critical work is on the GPU for `alone_ns`, if nothing else is. `beside`: on SMs of its own.
  virtual void critical_begins(uint32_t, uint64_t /*number*/, uint64_t /*alone_ns*/, bool /*beside*/, uint64_t) {}
  virtual void critical_ends(uint32_t, uint64_t) {}
  virtual void gate_changed(const GateState &, uint64_t) {}
  // Blocks of a step (the first `done` are complete) begin to run. `paused`: the job's pause word.
  virtual void blocks_begin(uint32_t /*job*/, uint64_t /*step_word*/, uint32_t /*done*/, bool /*whole*/,
                            bool /*paused*/, uint64_t) {}
  // Blocks `first`, `first + 1` ... of a step are complete.
  virtual void blocks_done(uint32_t /*job*/, uint64_t /*step_word*/, uint32_t /*first*/, uint32_t /*count*/, uint64_t) {
  }
  // Nothing of background is on the GPU any longer.
  virtual void background_left(uint64_t) {}
  // A `whole` launch whose turn it is not: on a real GPU it would have run all the same.
  virtual void out_of_turn(uint32_t /*job*/, uint32_t /*segment*/, uint64_t) {}
};

// The engines that this thread opens from now on have this observer; nullptr: none.
void observe_engines(GpuObserver *observer);

}  // namespace calypte::sim
