// At which level does each step run, on how many workers, and how often does it read the gate? Measured on the device,
// once, while a job is loaded: the cheapest way that gives the GPU back within the job's preemption bound.
#include <algorithm>
#include <cstring>

#include "backend/cuda/background_job.h"
#include "engine/clock.h"
#include "engine/error.h"

namespace calypte::cuda {
namespace {

// Steps shorter than this keep a full GPU: their time is mostly launch, and cannot be told apart.
constexpr uint64_t kTunedStepNs = 100'000;
// Fewer workers may cost a step this much: one part in so many.
constexpr uint64_t kTunedLossParts = 128;
constexpr int kTuningRuns = 3;
// A run of blocks between two looks at the gate: at most half the bound, or this long where there is none; at most so
// many blocks, and at least so many runs for each worker.
constexpr uint64_t kLongestRunNs = 12'500;
constexpr uint32_t kLongestRun = 64;
constexpr uint64_t kLeastRuns = 2;
constexpr uint64_t kTuningTimeoutNs = 10'000'000'000;
// Closings per step from which the longest drain is taken, spread over the first half of the step.
constexpr uint64_t kDrainTrials = 8;
// Where no bound is given, a step at level loop should be gone this soon: 2-5 us between two reads, and the rest.
constexpr uint64_t kDrainTargetNs = 12'000;
constexpr uint32_t kLeastPeriodSlots = 100;
constexpr uint32_t kMostPeriodSlots = 6400;

}  // namespace

int32_t BackgroundJob::begin_unit(Gpu &gpu, const uint8_t *input) {
  const uint64_t one_unit = 1;
  if (const int32_t code = reset(gpu); code < 0) return code;
  if (input != nullptr) memcpy(slots_[0].input.host, input, work_.head.input_bytes);
  CALYPTE_CU(copy_word(gpu, control_at(offsetof(ControlBlock, granted)), &one_unit, 8, gpu.background), "grant a unit");
  return 0;
}

// One step of unit 0 to its end, as its active variant. `entry` counts the launches.
int32_t BackgroundJob::run_step(Gpu &gpu, uint32_t step, uint32_t &entry, uint64_t &duration_ns) {
  const std::string what = "tune job '" + work_.name() + "'";
  const uint64_t next = step + 1 == steps_.size() ? core::step_word_of(1, 0) : core::step_word_of(0, step + 1);
  entry += 1;
  CALYPTE_CU(copy_word(gpu, control_at(offsetof(ControlBlock, entry)), &entry, 4, gpu.background), what.c_str());
  CALYPTE_CU(cu_->EventRecord(begin_, gpu.background), what.c_str());
  CALYPTE_CU(steps_[step].active().launch->enqueue(*cu_, gpu.background), what.c_str());
  CALYPTE_CU(cu_->EventRecord(end_, gpu.background), what.c_str());
  if (!preemptible(work_.steps[step])) {
    CALYPTE_CU(copy_word(gpu, control_at(offsetof(ControlBlock, step_word)), &next, 8, gpu.background), what.c_str());
    CALYPTE_CU(copy_word(gpu, mirror_.device, &next, 8, gpu.background), what.c_str());
  }
  if (const int32_t code = wait(gpu, kTuningTimeoutNs, what.c_str()); code < 0) return code;
  float milliseconds = 0;
  CALYPTE_CU(cu_->EventElapsedTime(&milliseconds, begin_, end_), what.c_str());
  duration_ns = static_cast<uint64_t>(static_cast<double>(milliseconds) * 1e6);
  return 0;
}

// Each step by itself, the shortest of several runs.
int32_t BackgroundJob::time_steps(Gpu &gpu, const uint8_t *input, std::vector<uint64_t> &best_ns) {
  best_ns.assign(steps_.size(), core::kNever);
  for (int run = 0; run < kTuningRuns; ++run) {
    if (const int32_t code = begin_unit(gpu, input); code < 0) return code;
    uint32_t entry = 0;
    for (uint32_t i = 0; i < steps_.size(); ++i) {
      uint64_t duration_ns = 0;
      if (const int32_t code = run_step(gpu, i, entry, duration_ns); code < 0) return code;
      best_ns[i] = std::min(best_ns[i], duration_ns);
    }
  }
  return reset(gpu);
}

// Lets workers run several short blocks between two looks at the gate where that is faster: a look costs each of them
// about a microsecond, during which the others of its SM must have enough to do.
int32_t BackgroundJob::lengthen_runs(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted) {
  std::vector<uint64_t> best_ns, longer_ns;
  if (const int32_t code = time_steps(gpu, input, best_ns); code < 0) return code;
  std::vector<bool> open(steps_.size());
  const uint64_t bound_ns = work_.head.preemption_bound_ns;
  const uint64_t longest_ns = bound_ns > 0 ? bound_ns / 2 : kLongestRunNs;
  const auto longer_fits = [&](uint32_t i) {
    const StepVariant &variant = steps_[i].active();
    const uint64_t blocks = virtual_blocks(work_.steps[i]), rounds = blocks / std::max(variant.workers, 1U);
    const uint64_t run_ns = best_ns[i] / std::max<uint64_t>(rounds, 1) * variant.run * 2;
    return run_ns <= longest_ns && rounds >= variant.run * 2 * kLeastRuns && variant.run < kLongestRun;
  };
  for (uint32_t i = 0; i < open.size(); ++i)
    open[i] = wanted[i] && steps_[i].active().resident > 0 && !steps_[i].fixed && longer_fits(i);
  while (std::find(open.begin(), open.end(), true) != open.end()) {
    for (uint32_t i = 0; i < open.size(); ++i) {
      if (!open[i]) continue;
      steps_[i].active().run *= 2;
      if (const int32_t code = activate(gpu, i); code < 0) return code;
    }
    if (const int32_t code = time_steps(gpu, input, longer_ns); code < 0) return code;
    for (uint32_t i = 0; i < open.size(); ++i) {
      if (!open[i]) continue;
      // A hundredth is worth it: the bound on a run's length has been kept already.
      open[i] = longer_ns[i] + best_ns[i] / 100 < best_ns[i];
      if (!open[i]) {
        steps_[i].active().run /= 2;
        if (const int32_t code = activate(gpu, i); code < 0) return code;
        continue;
      }
      best_ns[i] = longer_ns[i];
      open[i] = longer_fits(i);
    }
  }
  return 0;
}

// Finds for each long step among those wanted the fewest workers that are as fast as a full GPU: threads that it does
// not need are free for critical work at once, and fewer blocks are under way when the gate closes.
int32_t BackgroundJob::tune(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted) {
  std::vector<uint64_t> full_ns, fewer_ns;
  if (const int32_t code = time_steps(gpu, input, full_ns); code < 0) return code;
  std::vector<uint32_t> per_sm(steps_.size());
  std::vector<bool> open(steps_.size());
  for (size_t i = 0; i < open.size(); ++i) {
    StepVariant &variant = steps_[i].active();
    if (wanted[i]) variant.best_ns = full_ns[i];
    per_sm[i] = variant.resident;
    open[i] = wanted[i] && !steps_[i].fixed && variant.resident > 1 && full_ns[i] >= kTunedStepNs;
  }
  const auto set = [&](uint32_t i, uint32_t blocks_per_sm) {
    const uint64_t workers = uint64_t{blocks_per_sm} * static_cast<uint64_t>(gpu.sms);
    steps_[i].active().workers = workers_for(work_.steps[i], workers);
    return activate(gpu, i);
  };
  // Halves, down to one block per SM, as long as nothing is lost.
  while (std::find(open.begin(), open.end(), true) != open.end()) {
    for (uint32_t i = 0; i < open.size(); ++i) {
      if (!open[i]) continue;
      if (const int32_t code = set(i, per_sm[i] / 2); code < 0) return code;
    }
    if (const int32_t code = time_steps(gpu, input, fewer_ns); code < 0) return code;
    for (uint32_t i = 0; i < open.size(); ++i) {
      if (!open[i]) continue;
      // Fewer may also be faster, where blocks get in each other's way: the best so far is what counts.
      uint64_t &best_ns = steps_[i].active().best_ns;
      open[i] = fewer_ns[i] <= best_ns + best_ns / kTunedLossParts;
      if (open[i]) per_sm[i] /= 2;
      best_ns = std::min(best_ns, fewer_ns[i]);
      if (const int32_t code = set(i, per_sm[i]); code < 0) return code;
      open[i] = open[i] && per_sm[i] > 1;
    }
  }
  return confirm(gpu, input, wanted);
}

// Times the full GPU once more beside what was found: one measurement may have been a bad one.
int32_t BackgroundJob::confirm(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted) {
  std::vector<uint64_t> fewer_ns, full_ns;
  std::vector<uint32_t> fewer(steps_.size());
  if (const int32_t code = time_steps(gpu, input, fewer_ns); code < 0) return code;
  bool any = false;
  const auto full_workers = [&](uint32_t i) {
    return workers_for(work_.steps[i], steps_[i].active().resident * static_cast<uint64_t>(gpu.sms));
  };
  for (uint32_t i = 0; i < fewer.size(); ++i) {
    fewer[i] = steps_[i].active().workers;
    if (!wanted[i] || steps_[i].fixed || steps_[i].active().resident == 0 || fewer[i] == full_workers(i)) continue;
    any = true;
    steps_[i].active().workers = full_workers(i);
    if (const int32_t code = activate(gpu, i); code < 0) return code;
  }
  if (!any) return 0;
  if (const int32_t code = time_steps(gpu, input, full_ns); code < 0) return code;
  for (uint32_t i = 0; i < fewer.size(); ++i) {
    StepVariant &variant = steps_[i].active();
    if (variant.workers == fewer[i]) continue;
    variant.best_ns = std::min(full_ns[i], fewer_ns[i]);
    if (fewer_ns[i] > full_ns[i] + full_ns[i] / kTunedLossParts) continue;
    variant.workers = fewer[i];
    if (const int32_t code = activate(gpu, i); code < 0) return code;
  }
  return 0;
}

// Closes the gate several times while the step runs, and ends it.
int32_t BackgroundJob::drain_step(Gpu &gpu, uint32_t step, uint32_t &entry) {
  const std::string what = "measure how job '" + work_.name() + "' drains";
  StepVariant &variant = steps_[step].active();
  const uint64_t here = core::step_word_of(0, step);
  const uint64_t apart_ns = variant.best_ns / (2 * kDrainTrials);
  for (uint64_t trial = 0; trial < kDrainTrials && step_word() == here; ++trial) {
    entry += 1;
    CALYPTE_CU(copy_word(gpu, control_at(offsetof(ControlBlock, entry)), &entry, 4, gpu.background), what.c_str());
    CALYPTE_CU(cu_->EventRecord(begin_, gpu.background), what.c_str());
    CALYPTE_CU(variant.launch->enqueue(*cu_, gpu.background), what.c_str());
    CALYPTE_CU(cu_->EventRecord(end_, gpu.background), what.c_str());
    // A launch that has not begun yet would be counted as one that takes long to leave.
    while (cu_->EventQuery(begin_) == CUDA_ERROR_NOT_READY) {
    }
    for (const uint64_t until_ns = monotonic_ns() + apart_ns * (1 + trial % 2); monotonic_ns() < until_ns;) {
    }
    CALYPTE_CU(gpu.write_gate(gpu.control, kHoldWord, 1), what.c_str());
    CALYPTE_CU(cu_->EventRecord(begin_, gpu.control), what.c_str());
    if (const int32_t code = wait(gpu, kTuningTimeoutNs, what.c_str()); code < 0) return code;
    CALYPTE_CU(cu_->StreamSynchronize(gpu.control), what.c_str());
    float milliseconds = 0;
    CALYPTE_CU(cu_->EventElapsedTime(&milliseconds, begin_, end_), what.c_str());
    variant.drain_ns = std::max(variant.drain_ns, static_cast<uint64_t>(std::max(0.0F, milliseconds) * 1e6F));
    CALYPTE_CU(gpu.write_gate(gpu.control, kHoldWord, 0), what.c_str());
    CALYPTE_CU(cu_->StreamSynchronize(gpu.control), what.c_str());
  }
  uint64_t duration_ns = 0;
  return step_word() == here ? run_step(gpu, step, entry, duration_ns) : 0;
}

int32_t BackgroundJob::measure_drain(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted) {
  if (std::find(wanted.begin(), wanted.end(), true) == wanted.end()) return 0;
  if (const int32_t code = begin_unit(gpu, input); code < 0) return code;
  uint32_t entry = 0;
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    uint64_t duration_ns = 0;
    if (wanted[i]) steps_[i].active().drain_ns = 0;
    if (const int32_t code = wanted[i] ? drain_step(gpu, i, entry) : run_step(gpu, i, entry, duration_ns); code < 0)
      return code;
  }
  return reset(gpu);
}

// How often those wanted read the gate: as seldom as the bound allows, but at least every few microseconds; if the
// bound is not kept, more often, as long as that helps.
int32_t BackgroundJob::calibrate(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted) {
  const uint64_t bound_ns = work_.head.preemption_bound_ns;
  const uint64_t target_ns = bound_ns == 0 ? kDrainTargetNs : bound_ns - bound_ns / 5;
  std::vector<bool> open = wanted, rarer(steps_.size());
  std::vector<uint64_t> before_ns(steps_.size(), core::kNever);
  bool first = true;
  for (;;) {
    if (const int32_t code = measure_drain(gpu, input, open); code < 0) return code;
    bool any = false;
    for (uint32_t i = 0; i < open.size(); ++i) {
      if (!open[i]) continue;
      JobStep &step = steps_[i];
      const uint64_t drain_ns = step.loop.drain_ns;
      if (first) rarer[i] = drain_ns <= target_ns / 2;
      const bool kept = rarer[i] ? drain_ns <= target_ns : drain_ns < before_ns[i] - before_ns[i] / 10;
      bool again = kept && work_.steps[i].period_slots == 0;
      again = again && (rarer[i] ? step.period_slots * 2 <= kMostPeriodSlots && drain_ns <= target_ns / 2
                                 : step.period_slots / 2 >= kLeastPeriodSlots && drain_ns > target_ns);
      if (!kept && before_ns[i] != core::kNever) {  // one step back
        step.period_slots = rarer[i] ? step.period_slots / 2 : step.period_slots * 2;
        step.loop.drain_ns = before_ns[i];
      }
      if (again) {
        before_ns[i] = drain_ns;
        step.period_slots = rarer[i] ? step.period_slots * 2 : step.period_slots / 2;
      }
      open[i] = again;
      any = any || again;
      if (const int32_t code = activate(gpu, i); code < 0) return code;
    }
    first = false;
    if (!any) return 0;
  }
}

// Measures those wanted, and takes runs back where they do not keep the bound.
int32_t BackgroundJob::shorten_runs(Gpu &gpu, const uint8_t *input, const std::vector<bool> &wanted) {
  std::vector<bool> open = wanted;
  while (std::find(open.begin(), open.end(), true) != open.end()) {
    if (const int32_t code = measure_drain(gpu, input, open); code < 0) return code;
    for (uint32_t i = 0; i < open.size(); ++i) {
      if (!open[i]) continue;
      StepVariant &variant = steps_[i].active();
      open[i] = variant.drain_ns > work_.head.preemption_bound_ns && variant.run > 1 && !steps_[i].looping;
      if (!open[i]) continue;
      variant.run /= 2;
      if (const int32_t code = activate(gpu, i); code < 0) return code;
    }
  }
  return 0;
}

int32_t BackgroundJob::choose_levels(Gpu &gpu, const uint8_t *input) {
  const uint64_t bound_ns = work_.head.preemption_bound_ns;
  std::vector<bool> all(steps_.size()), slow(steps_.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = true;
  if (const int32_t code = lengthen_runs(gpu, input, all); code < 0) return code;
  if (const int32_t code = tune(gpu, input, all); code < 0) return code;
  // What ends within the bound by itself needs no closer look.
  for (size_t i = 0; i < slow.size(); ++i)
    slow[i] =
        preemptible(work_.steps[i]) && (steps_[i].looping || bound_ns > 0) && steps_[i].active().best_ns > bound_ns;
  if (const int32_t code = shorten_runs(gpu, input, slow); code < 0) return code;

  for (uint32_t i = 0; i < slow.size(); ++i) {
    JobStep &step = steps_[i];
    slow[i] = slow[i] && (step.looping || (step.loop.launch != nullptr && step.plain.drain_ns > bound_ns));
    if (!slow[i] || step.looping) continue;
    step.looping = true;
    step.loop.workers = std::min(step.loop.workers, step.plain.workers);
    step.loop.run = step.plain.run;
    if (const int32_t code = activate(gpu, i); code < 0) return code;
  }
  if (std::find(slow.begin(), slow.end(), true) == slow.end()) return 0;
  if (const int32_t code = tune(gpu, input, slow); code < 0) return code;
  if (const int32_t code = calibrate(gpu, input, slow); code < 0) return code;
  for (uint32_t i = 0; i < slow.size(); ++i) {
    JobStep &step = steps_[i];
    if (!slow[i] || step.plain.launch == nullptr) continue;
    // Where it does not keep the bound either, it must at least be worth what it costs.
    if (step.loop.drain_ns <= bound_ns || step.loop.drain_ns * 2 <= step.plain.drain_ns) continue;
    step.looping = false;
    if (const int32_t code = activate(gpu, i); code < 0) return code;
  }
  // Once more as they will run: the period may have changed since they were timed.
  std::vector<uint64_t> best_ns;
  if (const int32_t code = time_steps(gpu, input, best_ns); code < 0) return code;
  for (size_t i = 0; i < steps_.size(); ++i) steps_[i].active().best_ns = best_ns[i];
  return 0;
}

// Of the time of each segment, what runs at level loop: for the shares that are reported.
void BackgroundJob::share_levels() {
  for (core::Segment &segment : config_.segments) {
    uint64_t total_ns = 1, loop_ns = 0;
    for (uint32_t i = segment.first_step; i < segment.first_step + segment.step_count; ++i) {
      total_ns += steps_[i].active().best_ns;
      if (steps_[i].looping) loop_ns += steps_[i].active().best_ns;
    }
    segment.loop_permille = segment.whole ? 0 : static_cast<uint32_t>(loop_ns * 1000 / total_ns);
  }
}

void BackgroundJob::describe(uint32_t index, calypte_step_info &out) const {
  const JobStep &step = steps_[index];
  const uint32_t level = work_.steps[index].level;
  out = calypte_step_info{};
  out.level = step.looping ? CALYPTE_LEVEL_LOOP : level;
  out.workers = step.active().workers;
  out.run_blocks = preemptible(work_.steps[index]) ? step.active().run : 0;
  out.period_slots = step.looping ? step.period_slots : 0;
  out.block_ns = step.plain.best_ns;
  out.loop_ns = step.loop.best_ns;
  out.block_drain_ns = step.plain.drain_ns;
  out.loop_drain_ns = step.loop.drain_ns;
}

}  // namespace calypte::cuda
