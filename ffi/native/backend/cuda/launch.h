// How does a step become a kernel launch? Resolves its arguments once, so that launching allocates nothing.
#pragma once

#include <vector>

#include "backend/cuda/gpu.h"
#include "engine/work.h"

namespace calypte::cuda {

// Addresses that only background jobs have; all zero for critical tasks.
struct JobAddresses {
  CUdeviceptr control = 0;
  CUdeviceptr input_slots = 0;
  CUdeviceptr output_slots = 0;
  uint32_t slot_count = 0;
};

class Launch {
 public:
  Launch(const calypte_step &step, const std::vector<calypte_arg> &args, const Kernel &kernel,
         const std::vector<Buffer> &buffers, const JobAddresses &job);

  // Behind the kernel's own parameters, as docs/PREEMPTION.md orders them; the launch is then (workers, 1, 1).
  void add_worker_parameters(CUdeviceptr gate, CUdeviceptr control, CUdeviceptr records, CUdeviceptr stored,
                             uint32_t step, uint32_t steps, uint32_t workers);
  // Behind those, at level `loop`.
  void add_period(uint32_t period_slots);

  // Another number of workers for a launch that has worker parameters; another period for one that has a period.
  void set_workers(uint32_t workers);
  // Of a step that does not read the gate: so many blocks in x.
  void set_blocks(uint32_t blocks) { grid_[0] = blocks; }
  void set_run(uint32_t blocks);  // a power of two
  void set_period(uint32_t period_slots);
  void set_gate(CUdeviceptr gate) { values_[gate_at_] = gate; }

  // Raises the kernel's dynamic shared memory limit where the launch needs it.
  int32_t prepare(const Gpu &gpu) const;
  CUresult enqueue(const Driver &cu, CUstream stream);
  // Null: an ordinary kernel.
  plugin::LoadedPlugin *plugin() const { return plugin_; }

 private:
  void add(const void *bytes, uint32_t size_bytes);

  CUfunction function_;
  plugin::LoadedPlugin *plugin_;  // not null: it launches
  uint32_t plugin_step_;
  std::string name_;
  calypte_step step_;
  uint32_t grid_[3];
  size_t gate_at_ = 0;
  size_t workers_at_ = 0;
  size_t run_at_ = 0;
  size_t period_at_ = 0;
  std::vector<uint64_t> values_;  // each argument in 8 bytes of its own
  std::vector<void *> pointers_;
};

}  // namespace calypte::cuda
