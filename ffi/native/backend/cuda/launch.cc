#include "backend/cuda/launch.h"

#include <cstring>

#include "engine/error.h"

namespace calypte::cuda {
namespace {
// Dynamic shared memory beyond this must be asked for (CUDA C++ Programming Guide, compute capabilities).
constexpr uint32_t kSharedWithoutAskingBytes = 48 * 1024;
constexpr size_t kWorkerParameters = 17;
// As divisionBy in ptx/wrapper.ts, which says why it is exact below 2^31.
struct Division {
  uint32_t magic = 0;
  uint32_t shift = 0;
};

Division division_by(uint32_t divisor) {
  if (divisor == 1) return {};
  const uint32_t shift = 31 - static_cast<uint32_t>(__builtin_clz(divisor - 1));
  return {static_cast<uint32_t>(((uint64_t{1} << (32 + shift)) + divisor - 1) / divisor), shift};
}
}  // namespace

Launch::Launch(const calypte_step &step, const std::vector<calypte_arg> &args, const Kernel &kernel,
               const std::vector<Buffer> &buffers, const JobAddresses &job)
    : function_(kernel.function),
      plugin_(kernel.plugin),
      plugin_step_(kernel.plugin_step),
      name_(kernel.name),
      step_(step),
      grid_{step.grid[0], step.grid[1], step.grid[2]} {
  values_.reserve(step.arg_count + kWorkerParameters);  // pointers into it are kept
  for (uint32_t i = 0; i < step.arg_count; ++i) {
    const calypte_arg &arg = args[step.first_arg + i];
    const uint64_t address = arg.kind == CALYPTE_ARG_BUFFER         ? buffers[arg.value].address + arg.offset
                             : arg.kind == CALYPTE_ARG_CONTROL      ? job.control
                             : arg.kind == CALYPTE_ARG_INPUT_SLOTS  ? job.input_slots
                             : arg.kind == CALYPTE_ARG_OUTPUT_SLOTS ? job.output_slots
                             : arg.kind == CALYPTE_ARG_SLOT_COUNT   ? job.slot_count
                                                                    : arg.value;
    add(&address, 8);
  }
}

void Launch::add(const void *bytes, uint32_t size_bytes) {
  uint64_t value = 0;
  memcpy(&value, bytes, size_bytes);
  values_.push_back(value);
  pointers_.push_back(&values_.back());
}

void Launch::add_worker_parameters(CUdeviceptr gate, CUdeviceptr control, CUdeviceptr records, CUdeviceptr stored,
                                   uint32_t step, uint32_t steps, uint32_t workers) {
  gate_at_ = values_.size() + 1;
  for (const CUdeviceptr address : {control, gate, records, stored}) add(&address, 8);
  const uint32_t total = static_cast<uint32_t>(virtual_blocks(step_));
  for (const uint32_t word : {step, steps, total}) add(&word, 4);
  workers_at_ = values_.size();
  for (const uint32_t word : {workers, step_.grid[0], step_.grid[1], step_.grid[2]}) add(&word, 4);
  run_at_ = values_.size();
  const uint32_t run_mask = 0;
  add(&run_mask, 4);
  for (const uint32_t extent : {step_.grid[0], step_.grid[1]}) {
    const Division division = division_by(extent);
    add(&division.magic, 4);
    add(&division.shift, 4);
  }
  grid_[0] = workers;
  grid_[1] = grid_[2] = 1;
}

void Launch::add_period(uint32_t period_slots) {
  period_at_ = values_.size();
  add(&period_slots, 4);
}

void Launch::set_workers(uint32_t workers) {
  values_[workers_at_] = workers;
  grid_[0] = workers;
}

void Launch::set_run(uint32_t blocks) { values_[run_at_] = blocks - 1; }

void Launch::set_period(uint32_t period_slots) { values_[period_at_] = period_slots; }

int32_t Launch::prepare(const Gpu &gpu) const {
  if (plugin_ != nullptr || step_.shared_bytes <= kSharedWithoutAskingBytes) return 0;
  CALYPTE_CU(gpu.cu->FuncSetAttribute(function_, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                      static_cast<int>(step_.shared_bytes)),
             ("kernel '" + name_ + "': raise its dynamic shared memory").c_str());
  return 0;
}

CUresult Launch::enqueue(const Driver &cu, CUstream stream) {
  if (plugin_ != nullptr) return static_cast<CUresult>(plugin_->enqueue(plugin_step_, stream));
  return cu.LaunchKernel(function_, grid_[0], grid_[1], grid_[2], step_.block[0], step_.block[1], step_.block[2],
                         step_.shared_bytes, stream, pointers_.data(), nullptr);
}

}  // namespace calypte::cuda
