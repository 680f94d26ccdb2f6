#include "backend/sim/estimates.h"

#include <algorithm>

namespace calypte::sim {
namespace {

constexpr uint64_t kLaunchNs = 2'000;
constexpr uint64_t kBlockBaseNs = 4'000;
constexpr uint64_t kThreadNs = 25;
constexpr uint32_t kThreadsPerSm = 2048;
constexpr uint32_t kBlocksPerSm = 32;
constexpr uint32_t kThreadsPerBlock = 1024;
constexpr uint32_t kWorkersPerSm = 8;
constexpr uint64_t kLongestNs = 3'600'000'000'000;  // an hour: sums of 1024 steps stay far from overflow

constexpr uint64_t ceil_div(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

uint64_t derived_ns(const calypte_step &step, uint32_t sms) {
  const uint32_t threads = step.block[0] * step.block[1] * step.block[2];
  const uint64_t resident = uint64_t{sms} * std::max(blocks_per_sm(threads), 1u);
  return kLaunchNs + ceil_div(virtual_blocks(step), resident) * (kBlockBaseNs + threads * kThreadNs);
}

// a * b / c without overflow on the way.
uint64_t scaled(uint64_t a, uint64_t b, uint64_t c) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b / c);
}

}  // namespace

uint32_t blocks_per_sm(uint32_t threads) {
  if (threads == 0 || threads > kThreadsPerBlock) return 0;
  return std::min(kThreadsPerSm / threads, kBlocksPerSm);
}

std::vector<GpuStep> gpu_steps(const Work &work, uint32_t sms) {
  uint64_t derived_sum_ns = 0;
  bool measured = work.head.estimate_ns == 0;
  for (const calypte_step &step : work.steps) {
    derived_sum_ns += derived_ns(step, sms);
    measured = measured || step.estimate_ns > 0;
  }
  std::vector<GpuStep> steps;
  steps.reserve(work.steps.size());
  for (const calypte_step &step : work.steps) {
    GpuStep out;
    out.blocks = static_cast<uint32_t>(virtual_blocks(step));
    out.workers = std::min(out.blocks, step.workers > 0 ? step.workers : sms * kWorkersPerSm);
    out.whole = !preemptible(step);
    uint64_t ns = step.estimate_ns > 0 ? step.estimate_ns : derived_ns(step, sms);
    if (!measured) ns = scaled(ns, work.head.estimate_ns, derived_sum_ns);
    out.estimate_ns = std::clamp<uint64_t>(ns, 1, kLongestNs);
    const uint64_t block_ns =
        step.block_estimate_ns > 0 ? step.block_estimate_ns : out.estimate_ns / ceil_div(out.blocks, out.workers);
    // One after another the blocks cannot take less than this: a shorter block contradicts the step's estimate.
    out.block_ns = std::clamp(block_ns, ceil_div(out.estimate_ns, out.blocks), out.estimate_ns);
    out.loop =
        step.level == CALYPTE_LEVEL_LOOP || (step.loop_kernel != CALYPTE_NONE && work.head.preemption_bound_ns > 0 &&
                                             out.block_ns > work.head.preemption_bound_ns);
    steps.push_back(out);
  }
  return steps;
}

uint64_t work_estimate_ns(const Work &work, const std::vector<GpuStep> &steps) {
  if (work.head.estimate_ns > 0) return std::min(work.head.estimate_ns, kLongestNs);
  uint64_t sum_ns = 0;
  for (const GpuStep &step : steps) sum_ns += step.estimate_ns;
  return sum_ns;
}

}  // namespace calypte::sim
