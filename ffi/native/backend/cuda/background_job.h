// How does a unit run? As entries in the one background stream: [wait until open, write the entry's number and
// what is granted, a graph of consecutive block-level steps, write "done"]. See docs/PREEMPTION.md.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/launch.h"

namespace calypte::cuda {

// Units whose input may be staged ahead: short units end faster than the io thread comes round.
inline constexpr uint32_t kUnitSlots = 8;
// ... of a job whose units move more than this, half as many: they are not short.
inline constexpr uint64_t kLargeUnitBytes = 4 << 20;

// The control block of docs/PREEMPTION.md, as the device lays it out.
struct ControlBlock {
  uint32_t entry;
  uint32_t left;
  uint32_t pause;
  uint32_t reserved0;
  uint64_t step_word;
  uint64_t granted;
  uint32_t completed;
  uint32_t reserved1;
  uint64_t leaves;
  uint64_t abandoned;
  uint64_t reserved3;
  uint64_t mirror;
  uint64_t reserved2[7];
  uint32_t ticket;
  uint32_t reserved4[31];
};
static_assert(sizeof(ControlBlock) == 256 && offsetof(ControlBlock, ticket) == 128 &&
              offsetof(ControlBlock, step_word) == 16 && offsetof(ControlBlock, completed) == 32 &&
              offsetof(ControlBlock, leaves) == 40 && offsetof(ControlBlock, abandoned) == 48 &&
              offsetof(ControlBlock, mirror) == 64);

struct UnitSlot {
  Mapped input;
  Mapped output;
  uint64_t sensor_ns = 0;
  uint64_t staged_ns = 0;
};

// One step in one of the ways in which it may run.
struct StepVariant {
  std::unique_ptr<Launch> launch;  // null: there is none
  uint32_t resident = 0;           // blocks per SM; 0: a step that does not read the gate
  uint32_t workers = 0;
  uint32_t run = 1;       // consecutive blocks between two draws, a power of two
  uint64_t best_ns = 0;   // undisturbed; 0: not measured
  uint64_t drain_ns = 0;  // longest time seen from closing the gate to its end; 0: not measured
};

struct JobStep {
  StepVariant plain;  // level block, or a step that does not read the gate
  StepVariant loop;
  bool looping = false;
  bool fixed = false;  // workers and level were given, and are not looked for
  uint32_t period_slots = 0;

  StepVariant &active() { return looping ? loop : plain; }
  const StepVariant &active() const { return looping ? loop : plain; }
};

// One entry in the background stream. `number` counts the entries of all jobs; it is written to `done` behind
// the entry, and the events around it tell its GPU time, the wait for the gate left out.
struct Entry {
  uint32_t number = 0;
  CUdeviceptr done = 0;
  CUevent begin = nullptr;
  CUevent end = nullptr;
};

// As many workers as wanted, as far as the step has blocks for them.
uint32_t workers_for(const calypte_step &step, uint64_t wanted);

class BackgroundJob {
 public:
  BackgroundJob(const Work &work, core::JobConfig config);
  ~BackgroundJob();

  // Control block, slots, workers, graphs; runs units on `input` to find how many workers each step takes. Loading,
  // once.
  int32_t prepare(Gpu &gpu, const std::vector<Buffer> &buffers, const KernelTable &kernels, const uint8_t *input);
  // In place of `prepare`, where the job is known and nothing may be run to look at it: steps run as their work states,
  // else as was suggested, else at their safest. Loading.
  int32_t take_place(Gpu &gpu, const std::vector<Buffer> &buffers, const KernelTable &kernels,
                     const core::JobConfig &known);
  bool prepared() const { return cu_ != nullptr; }
  // How its steps ran in an earlier engine. Loading, before prepare.
  void suggest(const std::vector<calypte_step_info> &steps) { suggested_ = steps; }
  // Puts several short units into one entry, so that the gap between entries weighs less. Loading, when units were
  // timed.
  int32_t lengthen_entries(Gpu &gpu, uint64_t unit_ns);
  // Its kernels look at this gate line from now on. Loading.
  int32_t read_gate_at(Gpu &gpu, CUdeviceptr gate);
  // Longest time that was seen from closing the gate to the last worker gone; 0: not measured.
  uint64_t drain_ns() const;
  // How step `step` runs; settled by prepare.
  void describe(uint32_t step, calypte_step_info &out) const;
  // One unit by itself, gate and scheduler left out; per-segment GPU times are kept. Loading.
  int32_t run_once(Gpu &gpu, const uint8_t *input, uint8_t *output, uint64_t timeout_ns, uint64_t &duration_ns);
  // The two halves of calypte_check_surplus: a unit that is not reset, and launches behind it that nobody asked for.
  int32_t run_unit(Gpu &gpu, const uint8_t *input, uint64_t timeout_ns, uint64_t &duration_ns);
  int32_t launch_surplus(Gpu &gpu, uint32_t launches, uint64_t timeout_ns);
  // Back to unit 0, nothing granted. Loading.
  int32_t reset(Gpu &gpu);

  // Feeder.
  CUresult enqueue_entry(const Gpu &gpu, uint32_t segment, uint64_t granted, uint32_t tasks, const Entry &entry);
  // `count` segments, ranges of one grid, in one launch.
  CUresult enqueue_whole(const Gpu &gpu, uint32_t segment, uint32_t count, uint64_t step_word, uint32_t tasks,
                         const Entry &entry);
  CUresult write_pause(const Gpu &gpu, uint32_t value);

  // Any thread: the step word as the device last reported it.
  uint64_t step_word() const {
    return std::atomic_ref(*reinterpret_cast<uint64_t *>(mirror_.host)).load(std::memory_order_acquire);
  }
  // Io thread: reads what the device counts.
  int32_t sample(const Gpu &gpu, core::Event &out);

  const Work &work() const { return work_; }
  const core::JobConfig &config() const { return config_; }
  UnitSlot &slot(uint64_t unit) { return slots_[unit % unit_slots_]; }
  uint32_t unit_slots() const { return unit_slots_; }

  // Units whose input lies in its slot; written by whoever stages (io thread, or the caller for an API source).
  std::atomic<uint64_t> staged{0};
  // Units whose output was moved into the results store. Io thread.
  std::atomic<uint64_t> collected{0};

 private:
  struct SegmentGraph {
    CUgraphExec exec = nullptr;  // null for a whole step
  };

  // level_choice.cc: finds for each step the level and the number of workers.
  int32_t choose_levels(Gpu &gpu, const uint8_t *input);
  void share_levels();
  // level_memory.cc: how steps ran before, in place of that.
  bool can_run_as(uint32_t index, const calypte_step_info &info) const;
  int32_t run_as(Gpu &gpu, const std::vector<calypte_step_info> &infos);
  int32_t take_suggestion(Gpu &gpu, const uint8_t *input, bool &taken);
  bool can_run_as_suggested() const;
  int32_t run_at_safest(Gpu &gpu);
  int32_t lengthen_runs(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted);
  int32_t shorten_runs(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted);
  int32_t tune(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted);
  int32_t confirm(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted);
  int32_t calibrate(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted);
  int32_t measure_drain(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted);
  int32_t drain_step(Gpu &gpu, uint32_t step, uint32_t &entry);
  int32_t run_step(Gpu &gpu, uint32_t step, uint32_t &entry, uint64_t &duration_ns);
  int32_t begin_unit(Gpu &gpu, const uint8_t *input);
  int32_t make_variant(Gpu &gpu, uint32_t step, uint32_t kernel, const std::vector<Buffer> &buffers,
                       const KernelTable &kernels, const JobAddresses &addresses, StepVariant &out);
  int32_t make_slots(Gpu &gpu);
  int32_t make_ready(Gpu &gpu, const std::vector<Buffer> &buffers, const KernelTable &kernels);
  int32_t make_launches(Gpu &gpu, const std::vector<Buffer> &buffers, const KernelTable &kernels);
  int32_t build(Gpu &gpu, uint32_t segment);
  int32_t build_all(Gpu &gpu);
  int32_t activate(Gpu &gpu, uint32_t step);
  int32_t time_steps(Gpu &gpu, const uint8_t *input, std::vector<uint64_t> &best_ns);
  int32_t wait(const Gpu &gpu, uint64_t timeout_ns, const char *what);
  CUresult write_head(const Gpu &gpu, uint32_t number, uint64_t granted, uint32_t tasks);
  CUresult write_tail(const Gpu &gpu, const Entry &entry, const uint64_t *step_word);
  CUresult copy_word(const Gpu &gpu, CUdeviceptr target, const void *value, size_t size_bytes, CUstream stream);
  CUdeviceptr control_at(size_t offset) const { return control_ + offset; }

  const Work work_;
  core::JobConfig config_;
  const Driver *cu_ = nullptr;
  std::vector<JobStep> steps_;
  std::vector<calypte_step_info> suggested_;
  std::vector<SegmentGraph> graphs_;
  UnitSlot slots_[kUnitSlots];
  const uint32_t unit_slots_;
  Mapped mirror_;                           // u64: step word
  Mapped sample_;                           // ControlBlock
  std::atomic<bool> sample_wanted_{false};  // of the next entry
  Mapped staging_;                          // values for copies where there are no memory operations
  uint32_t staging_next_ = 0;
  CUdeviceptr control_ = 0;
  CUdeviceptr records_ = 0;
  CUdeviceptr stored_ = 0;
  CUdeviceptr tables_ = 0;
  uint64_t records_bytes_ = 0;
  CUevent begin_ = nullptr;
  CUevent end_ = nullptr;
};

}  // namespace calypte::cuda
