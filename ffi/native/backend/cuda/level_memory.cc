// Can a job run as it did in an earlier engine? What was found there is applied and looked at once: if steps take as
// long as they did, and leave as soon, the long search of level_choice.cc is left out.
#include <algorithm>

#include "backend/cuda/background_job.h"
#include "engine/error.h"

namespace calypte::cuda {
namespace {

// Times that lie this close are the same: an eighth, and what a short measurement is off by.
constexpr uint64_t kSameParts = 8, kSameNs = 3'000;
constexpr uint32_t kLongestRun = 64;

bool same(uint64_t a_ns, uint64_t b_ns) {
  return std::max(a_ns, b_ns) - std::min(a_ns, b_ns) <= std::max(a_ns, b_ns) / kSameParts + kSameNs;
}

}  // namespace

// Whether step `index` can run so at all; nothing that is read from a disk is believed.
bool BackgroundJob::can_run_as(uint32_t index, const calypte_step_info &info) const {
  const calypte_step &step = work_.steps[index];
  const JobStep &own = steps_[index];
  if (!preemptible(step)) return info.level == step.level && info.block_ns > 0;
  const bool loop = info.level == CALYPTE_LEVEL_LOOP;
  if (!loop && info.level != CALYPTE_LEVEL_BLOCK) return false;
  const StepVariant &variant = loop ? own.loop : own.plain;
  if (variant.launch == nullptr || variant.resident == 0) return false;
  if (info.workers < 1 || info.workers > variant.workers || (own.fixed && info.workers != variant.workers))
    return false;
  if (info.run_blocks < 1 || info.run_blocks > kLongestRun || (info.run_blocks & (info.run_blocks - 1)) != 0)
    return false;
  if (loop && (info.period_slots == 0 || (step.period_slots > 0 && info.period_slots != step.period_slots)))
    return false;
  return (loop ? info.loop_ns : info.block_ns) > 0;
}

int32_t BackgroundJob::run_as(Gpu &gpu, const std::vector<calypte_step_info> &infos) {
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    if (!preemptible(work_.steps[i])) continue;
    JobStep &own = steps_[i];
    own.looping = infos[i].level == CALYPTE_LEVEL_LOOP;
    own.active().workers = infos[i].workers;
    own.active().run = infos[i].run_blocks;
    if (own.looping) own.period_slots = infos[i].period_slots;
    if (const int32_t code = activate(gpu, i); code < 0) return code;
  }
  return 0;
}

bool BackgroundJob::can_run_as_suggested() const {
  if (suggested_.size() != steps_.size()) return false;
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    if (!can_run_as(i, suggested_[i])) return false;
  }
  return true;
}

// Where nothing is known: the shortest way to the next look at the gate that the step has.
int32_t BackgroundJob::run_at_safest(Gpu &gpu) {
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    JobStep &own = steps_[i];
    if (!preemptible(work_.steps[i]) || own.fixed || own.loop.launch == nullptr) continue;
    own.looping = true;
    if (const int32_t code = activate(gpu, i); code < 0) return code;
  }
  return 0;
}

// `taken`: the steps run as was suggested. Otherwise they are as they were.
int32_t BackgroundJob::take_suggestion(Gpu &gpu, const uint8_t *input, bool &taken) {
  taken = false;
  if (!can_run_as_suggested()) return 0;
  std::vector<calypte_step_info> before(steps_.size());
  std::vector<uint32_t> periods;
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    describe(i, before[i]);
    periods.push_back(steps_[i].period_slots);
  }
  std::vector<StepVariant *> active;
  std::vector<uint32_t> workers, runs;
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    const bool loop = preemptible(work_.steps[i]) && suggested_[i].level == CALYPTE_LEVEL_LOOP;
    active.push_back(loop ? &steps_[i].loop : &steps_[i].plain);
    workers.push_back(active[i]->workers);
    runs.push_back(active[i]->run);
  }
  if (const int32_t code = run_as(gpu, suggested_); code < 0) return code;

  const uint64_t bound_ns = work_.head.preemption_bound_ns;
  std::vector<uint64_t> best_ns;
  std::vector<bool> slow(steps_.size());
  if (const int32_t code = time_steps(gpu, input, best_ns); code < 0) return code;
  bool agrees = true;
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    const uint64_t then_ns = steps_[i].looping ? suggested_[i].loop_ns : suggested_[i].block_ns;
    agrees = agrees && same(best_ns[i], then_ns);
    active[i]->best_ns = best_ns[i];
    slow[i] = preemptible(work_.steps[i]) && (steps_[i].looping || bound_ns > 0) && best_ns[i] > bound_ns;
  }
  if (agrees) {
    if (const int32_t code = measure_drain(gpu, input, slow); code < 0) return code;
  }
  for (uint32_t i = 0; agrees && i < steps_.size(); ++i) {
    const uint64_t then_ns = steps_[i].looping ? suggested_[i].loop_drain_ns : suggested_[i].block_drain_ns;
    const uint64_t drain_ns = active[i]->drain_ns;
    // A step that never kept the bound must not be worse than it was.
    agrees = !slow[i] || (then_ns > 0 && (drain_ns <= bound_ns || drain_ns <= then_ns || same(drain_ns, then_ns)));
  }
  if (agrees) {
    for (uint32_t i = 0; i < steps_.size(); ++i) {
      StepVariant &plain = steps_[i].plain, &loop = steps_[i].loop;
      if (steps_[i].looping && plain.launch != nullptr) {
        plain.best_ns = suggested_[i].block_ns;
        plain.drain_ns = suggested_[i].block_drain_ns;
      }
      // The longest that was ever seen counts.
      const uint64_t then_ns = steps_[i].looping ? suggested_[i].loop_drain_ns : suggested_[i].block_drain_ns;
      if (slow[i]) active[i]->drain_ns = std::max(active[i]->drain_ns, then_ns);
      if (!steps_[i].looping && loop.launch != nullptr) {
        loop.best_ns = suggested_[i].loop_ns;
        loop.drain_ns = suggested_[i].loop_drain_ns;
      }
    }
    taken = true;
    return 0;
  }
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    active[i]->workers = workers[i];
    active[i]->run = runs[i];
    active[i]->best_ns = active[i]->drain_ns = 0;
    steps_[i].looping = preemptible(work_.steps[i]) && before[i].level == CALYPTE_LEVEL_LOOP;
    steps_[i].period_slots = periods[i];
    if (!preemptible(work_.steps[i])) continue;
    if (const int32_t code = activate(gpu, i); code < 0) return code;
  }
  return 0;
}

}  // namespace calypte::cuda
