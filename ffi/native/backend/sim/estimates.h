// How long does a step take when nobody has measured it? Rough, documented formulas; a measured estimate
// in the work always wins.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/work.h"

namespace calypte::sim {

// One step as the virtual GPU runs it. All times are greater than 0.
struct GpuStep {
  uint32_t blocks = 1;
  uint32_t workers = 1;
  bool whole = false;
  bool loop = false;  // a block leaves within loop_drain_ns, and is run again from its start
  uint64_t estimate_ns = 1;
  uint64_t block_ns = 1;  // of one block; at most estimate_ns
};

// Without an estimate a step takes kLaunchNs + waves * (kBlockBaseNs + threads * kThreadNs), where waves is
// ceil(blocks / (sms * resident blocks)) and resident blocks is blocks_per_sm(threads). Without a block
// estimate a block takes the step's estimate / ceil(blocks / workers). Where only the whole unit has an
// estimate, the derived ones are scaled to add up to it.
std::vector<GpuStep> gpu_steps(const Work &work, uint32_t sms);

// The work's own estimate, else the sum of its steps.
uint64_t work_estimate_ns(const Work &work, const std::vector<GpuStep> &steps);

// From the block size alone: 2048 threads and 32 blocks fit on an SM. 0: more than 1024 threads.
uint32_t blocks_per_sm(uint32_t threads);

}  // namespace calypte::sim
