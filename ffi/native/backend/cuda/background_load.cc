// How is a job made ready, and how is one unit run by itself? Loading only: nothing here runs beside the scheduler.
#include <sched.h>

#include <algorithm>
#include <cstring>

#include "backend/cuda/background_job.h"
#include "engine/clock.h"
#include "engine/error.h"

namespace calypte::cuda {
namespace {

constexpr uint32_t kMostWorkers = 65535;
// Between two reads of the gate until it has been measured: 2 us where few warps share an SM, 8 us where it is full.
constexpr uint32_t kFirstPeriodSlots = 800;
// The gap between two entries is about 6 us: within entries of this length it weighs 1.5 %.
constexpr uint64_t kEntryNs = 400'000;
// Kernels of one entry.
constexpr uint32_t kMostNodes = 256;
constexpr uint64_t kMostNodesUnparked = 12;

}  // namespace

uint32_t workers_for(const calypte_step &step, uint64_t wanted) {
  return static_cast<uint32_t>(std::min({wanted, virtual_blocks(step), uint64_t{kMostWorkers}}));
}

int32_t BackgroundJob::make_slots(Gpu &gpu) {
  CUdeviceptr table[2 * kUnitSlots]{};
  for (uint32_t i = 0; i < unit_slots_; ++i) {
    // A slot without bytes still gets an address, so that no kernel is ever given a null one.
    if (const int32_t code =
            gpu.map_host(std::max<uint64_t>(work_.head.input_bytes, 256), slots_[i].input, "allocate an input slot");
        code < 0)
      return code;
    if (const int32_t code =
            gpu.map_host(std::max<uint64_t>(work_.head.output_bytes, 256), slots_[i].output, "allocate an output slot");
        code < 0)
      return code;
    table[i] = slots_[i].input.device;
    table[kUnitSlots + i] = slots_[i].output.device;
  }
  if (const int32_t code = gpu.allocate(sizeof table, tables_, "allocate the slot tables"); code < 0) return code;
  memcpy(staging_.host, table, sizeof table);
  CALYPTE_CU(cu_->MemcpyHtoDAsync(tables_, staging_.host, sizeof table, gpu.io), "write the slot tables");
  CALYPTE_CU(cu_->StreamSynchronize(gpu.io), "write the slot tables");
  return 0;
}

int32_t BackgroundJob::make_variant(Gpu &gpu, uint32_t index, uint32_t kernel, const std::vector<Buffer> &buffers,
                                    const KernelTable &kernels, const JobAddresses &addresses, StepVariant &out) {
  const calypte_step &step = work_.steps[index];
  out.launch = std::make_unique<Launch>(step, work_.args, kernels[kernel], buffers, addresses);
  if (const int32_t code = out.launch->prepare(gpu); code < 0) return code;
  if (!preemptible(step)) return 0;
  int resident = 0;
  CALYPTE_CU(
      cu_->OccupancyMaxActiveBlocks(&resident, kernels[kernel].function,
                                    static_cast<int>(step.block[0] * step.block[1] * step.block[2]), step.shared_bytes),
      "ask for a kernel's occupancy");
  if (resident == 0)
    return fail(CALYPTE_E_INVALID, "job '%s' step %u: a block of kernel '%s' does not fit on an SM", work_.head.name,
                index, kernels[kernel].name.c_str());
  out.resident = static_cast<uint32_t>(resident);
  out.workers = workers_for(step, step.workers == 0 ? out.resident * static_cast<uint64_t>(gpu.sms) : step.workers);
  return 0;
}

int32_t BackgroundJob::make_launches(Gpu &gpu, const std::vector<Buffer> &buffers, const KernelTable &kernels) {
  const JobAddresses addresses{control_, tables_, tables_ + kUnitSlots * sizeof(CUdeviceptr), unit_slots_};
  const uint32_t count = static_cast<uint32_t>(work_.steps.size());
  steps_.resize(count);
  uint32_t most = 1;
  for (uint32_t i = 0; i < count; ++i) {
    const calypte_step &step = work_.steps[i];
    JobStep &own = steps_[i];
    own.looping = step.level == CALYPTE_LEVEL_LOOP;
    own.fixed = preemptible(step) && step.workers > 0;
    own.period_slots = step.period_slots > 0 ? step.period_slots : kFirstPeriodSlots;
    if (const int32_t code = make_variant(gpu, i, step.kernel, buffers, kernels, addresses, own.active()); code < 0)
      return code;
    own.active().run = std::max(step.run_blocks, 1u);
    if (step.loop_kernel != CALYPTE_NONE) {
      if (const int32_t code = make_variant(gpu, i, step.loop_kernel, buffers, kernels, addresses, own.loop); code < 0)
        return code;
    }
    most = std::max({most, own.plain.workers, own.loop.workers});
  }
  records_bytes_ = uint64_t{most} * 16;
  if (const int32_t code = gpu.allocate(records_bytes_, records_, "allocate the worker records"); code < 0) return code;
  if (const int32_t code = gpu.allocate(count * sizeof(uint32_t), stored_, "allocate the stored workers"); code < 0)
    return code;
  for (uint32_t i = 0; i < count; ++i) {
    if (!preemptible(work_.steps[i])) continue;
    for (StepVariant *variant : {&steps_[i].plain, &steps_[i].loop}) {
      if (variant->launch == nullptr) continue;
      variant->launch->add_worker_parameters(gpu.gate, control_, records_, stored_ + i * sizeof(uint32_t), i, count,
                                             variant->workers);
    }
    if (steps_[i].loop.launch != nullptr) steps_[i].loop.launch->add_period(steps_[i].period_slots);
    if (const int32_t code = activate(gpu, i); code < 0) return code;
  }
  return 0;
}

// All but how its steps run.
int32_t BackgroundJob::make_ready(Gpu &gpu, const std::vector<Buffer> &buffers, const KernelTable &kernels) {
  cu_ = gpu.cu;
  CALYPTE_CU(cu_->EventCreate(&begin_, CU_EVENT_DEFAULT), "make an event");
  CALYPTE_CU(cu_->EventCreate(&end_, CU_EVENT_DEFAULT), "make an event");
  for (Mapped *mapped : {&mirror_, &sample_, &staging_}) {
    if (const int32_t code = gpu.map_host(4096, *mapped, "allocate a job's host words"); code < 0) return code;
  }
  if (const int32_t code = gpu.allocate(sizeof(ControlBlock), control_, "allocate a control block"); code < 0)
    return code;
  if (const int32_t code = make_slots(gpu); code < 0) return code;
  return make_launches(gpu, buffers, kernels);
}

int32_t BackgroundJob::prepare(Gpu &gpu, const std::vector<Buffer> &buffers, const KernelTable &kernels,
                               const uint8_t *input) {
  if (cu_ != nullptr) return 0;
  if (const int32_t code = make_ready(gpu, buffers, kernels); code < 0) return code;
  bool known = false;
  if (const int32_t code = take_suggestion(gpu, input, known); code < 0) return code;
  if (!known) {
    if (const int32_t code = choose_levels(gpu, input); code < 0) return code;
  }
  share_levels();
  return build_all(gpu);
}

int32_t BackgroundJob::take_place(Gpu &gpu, const std::vector<Buffer> &buffers, const KernelTable &kernels,
                                  const core::JobConfig &known) {
  config_ = known;
  // Where it has been run before, its steps run as was found then.
  if (cu_ == nullptr) {
    if (const int32_t code = make_ready(gpu, buffers, kernels); code < 0) return code;
    const bool suggested = can_run_as_suggested();
    if (const int32_t code = suggested ? run_as(gpu, suggested_) : run_at_safest(gpu); code < 0) return code;
  }
  if (const int32_t code = build_all(gpu); code < 0) return code;
  return reset(gpu);
}

int32_t BackgroundJob::read_gate_at(Gpu &gpu, CUdeviceptr gate) {
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    if (!preemptible(work_.steps[i])) continue;
    for (StepVariant *variant : {&steps_[i].plain, &steps_[i].loop}) {
      if (variant->launch != nullptr) variant->launch->set_gate(gate);
    }
  }
  return build_all(gpu);
}

int32_t BackgroundJob::build_all(Gpu &gpu) {
  graphs_.resize(config_.segments.size());
  for (uint32_t i = 0; i < graphs_.size(); ++i) {
    if (const int32_t code = build(gpu, i); code < 0) return code;
  }
  return 0;
}

// Makes the step run as its active variant says. Only while nothing is granted.
int32_t BackgroundJob::activate(Gpu &gpu, uint32_t step) {
  const uint32_t workers = steps_[step].active().workers;
  steps_[step].active().launch->set_workers(workers);
  steps_[step].active().launch->set_run(steps_[step].active().run);
  if (steps_[step].looping) steps_[step].loop.launch->set_period(steps_[step].period_slots);
  memcpy(staging_.host, &workers, sizeof workers);
  CALYPTE_CU(cu_->MemcpyHtoDAsync(stored_ + step * sizeof workers, staging_.host, sizeof workers, gpu.io),
             "write the stored workers");
  CALYPTE_CU(cu_->StreamSynchronize(gpu.io), "write the stored workers");
  return 0;
}

int32_t BackgroundJob::build(Gpu &gpu, uint32_t index) {
  const core::Segment &segment = config_.segments[index];
  if (segment.whole) return 0;
  const std::string what = "job '" + work_.name() + "': build a graph";
  if (graphs_[index].exec != nullptr) cu_->GraphExecDestroy(graphs_[index].exec);
  graphs_[index].exec = nullptr;
  CUgraph graph = nullptr;
  CALYPTE_CU(cu_->StreamBeginCapture(gpu.background, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), what.c_str());
  CUresult recorded = CUDA_SUCCESS;
  for (uint32_t unit = 0; unit < config_.units_per_entry; ++unit) {
    // A unit's last step makes whatever comes later in the entry leave; each further unit is as good as an entry of its
    // own.
    if (unit > 0 && recorded == CUDA_SUCCESS)
      recorded = cu_->StreamWriteValue32(gpu.background, control_at(offsetof(ControlBlock, left)), 0,
                                         CU_STREAM_WRITE_VALUE_DEFAULT);
    for (uint32_t i = 0; i < segment.step_count && recorded == CUDA_SUCCESS; ++i)
      recorded = steps_[segment.first_step + i].active().launch->enqueue(*cu_, gpu.background);
  }
  const CUresult ended = cu_->StreamEndCapture(gpu.background, &graph);
  if (recorded != CUDA_SUCCESS) return fail_cuda(recorded, "capture", what.c_str());
  CALYPTE_CU(ended, what.c_str());
  const CUresult made = cu_->GraphInstantiate(&graphs_[index].exec, graph, 0);
  cu_->GraphDestroy(graph);
  CALYPTE_CU(made, what.c_str());
  CALYPTE_CU(cu_->GraphUpload(graphs_[index].exec, gpu.background), what.c_str());
  return 0;
}

int32_t BackgroundJob::lengthen_entries(Gpu &gpu, uint64_t unit_ns) {
  if (config_.segments.size() != 1 || config_.segments[0].whole || !gpu.has(CALYPTE_FEATURE_GRAPH_MEMOPS)) return 0;
  const uint64_t units = std::clamp<uint64_t>(kEntryNs / std::max<uint64_t>(unit_ns, 1), 1, unit_slots_ / 2);
  // Where entries do not wait for the gate in the stream, those that are queued run through behind a closed gate: a
  // microsecond and more for each kernel that finds nothing to do.
  const uint64_t most = gpu.has(CALYPTE_FEATURE_PARKED_RESUME) ? kMostNodes : kMostNodesUnparked;
  const uint64_t fitting = std::max<uint64_t>(1, most / config_.segments[0].step_count);
  config_.units_per_entry = static_cast<uint32_t>(std::min(units, fitting));
  return config_.units_per_entry > 1 ? build(gpu, 0) : 0;
}

uint64_t BackgroundJob::drain_ns() const {
  uint64_t longest_ns = 0;
  for (const JobStep &step : steps_) longest_ns = std::max(longest_ns, step.active().drain_ns);
  return longest_ns;
}

int32_t BackgroundJob::reset(Gpu &gpu) {
  ControlBlock fresh{};
  fresh.mirror = mirror_.device;
  CALYPTE_CU(cu_->CtxSynchronize(), "reset a job");
  memcpy(staging_.host, &fresh, sizeof fresh);
  CALYPTE_CU(cu_->MemcpyHtoDAsync(control_, staging_.host, sizeof fresh, gpu.io), "reset a job");
  // Generation 0 would be the step word of unit 0, step 0: an unused record must not look like it.
  CALYPTE_CU(cu_->MemsetD8Async(records_, 0xff, records_bytes_, gpu.io), "reset a job");
  CALYPTE_CU(cu_->StreamSynchronize(gpu.io), "reset a job");
  memset(mirror_.host, 0, sizeof(uint64_t));
  return 0;
}

int32_t BackgroundJob::wait(const Gpu &gpu, uint64_t timeout_ns, const char *what) {
  const uint64_t give_up_ns = monotonic_ns() + timeout_ns;
  for (CUresult result; (result = cu_->StreamQuery(gpu.background)) != CUDA_SUCCESS; sched_yield()) {
    if (result != CUDA_ERROR_NOT_READY) return fail_cuda(result, "run", what);
    if (monotonic_ns() > give_up_ns)
      return fail(CALYPTE_E_TIMEOUT, "%s: it did not end within %.1f s", what, static_cast<double>(timeout_ns) * 1e-9);
  }
  return 0;
}

// Unit 0, one segment after the other. Leaves the control block behind it.
int32_t BackgroundJob::run_unit(Gpu &gpu, const uint8_t *input, uint64_t timeout_ns, uint64_t &duration_ns) {
  const std::string what = "run job '" + work_.name() + "' once";
  const uint64_t one_unit = 1;
  if (const int32_t code = reset(gpu); code < 0) return code;
  if (input != nullptr) memcpy(slots_[0].input.host, input, work_.head.input_bytes);
  CALYPTE_CU(copy_word(gpu, control_at(offsetof(ControlBlock, granted)), &one_unit, 8, gpu.background), what.c_str());
  duration_ns = 0;
  for (uint32_t i = 0; i < graphs_.size(); ++i) {
    core::Segment &segment = config_.segments[i];
    const uint32_t entry = i + 1;
    const bool last = i + 1 == graphs_.size();
    const uint64_t next =
        last ? core::step_word_of(1, 0) : core::step_word_of(0, segment.first_step + segment.step_count);
    CALYPTE_CU(copy_word(gpu, control_at(offsetof(ControlBlock, entry)), &entry, 4, gpu.background), what.c_str());
    CALYPTE_CU(cu_->EventRecord(begin_, gpu.background), what.c_str());
    CALYPTE_CU(segment.whole ? steps_[segment.first_step].active().launch->enqueue(*cu_, gpu.background)
                             : cu_->GraphLaunch(graphs_[i].exec, gpu.background),
               what.c_str());
    CALYPTE_CU(cu_->EventRecord(end_, gpu.background), what.c_str());
    if (segment.whole) {
      CALYPTE_CU(copy_word(gpu, control_at(offsetof(ControlBlock, step_word)), &next, 8, gpu.background), what.c_str());
      CALYPTE_CU(copy_word(gpu, mirror_.device, &next, 8, gpu.background), what.c_str());
    }
    if (const int32_t code = wait(gpu, timeout_ns, what.c_str()); code < 0) return code;
    float milliseconds = 0;
    CALYPTE_CU(cu_->EventElapsedTime(&milliseconds, begin_, end_), what.c_str());
    segment.estimate_ns = static_cast<uint64_t>(static_cast<double>(milliseconds) * 1e6);
    duration_ns += segment.estimate_ns;
    if (step_word() != next) {
      return fail(CALYPTE_E_FAULT,
                  "%s: segment %u ended at step word %llu, not %llu: a kernel does not keep the protocol", what.c_str(),
                  i, static_cast<unsigned long long>(step_word()), static_cast<unsigned long long>(next));
    }
  }
  config_.estimate_ns = std::max<uint64_t>(duration_ns, 1);
  return 0;
}

int32_t BackgroundJob::run_once(Gpu &gpu, const uint8_t *input, uint8_t *output, uint64_t timeout_ns,
                                uint64_t &duration_ns) {
  if (const int32_t code = run_unit(gpu, input, timeout_ns, duration_ns); code < 0) return code;
  if (output != nullptr) memcpy(output, slots_[0].output.host, work_.head.output_bytes);
  return reset(gpu);
}

int32_t BackgroundJob::launch_surplus(Gpu &gpu, uint32_t launches, uint64_t timeout_ns) {
  const std::string what = "surplus launches of job '" + work_.name() + "'";
  uint32_t entry = static_cast<uint32_t>(graphs_.size());
  for (uint32_t launched = 0; launched < launches;) {
    for (uint32_t i = 0; i < graphs_.size(); ++i) {
      if (config_.segments[i].whole) continue;
      entry += 1;
      CALYPTE_CU(copy_word(gpu, control_at(offsetof(ControlBlock, entry)), &entry, 4, gpu.background), what.c_str());
      CALYPTE_CU(cu_->GraphLaunch(graphs_[i].exec, gpu.background), what.c_str());
      launched += config_.segments[i].step_count;
    }
    if (entry == graphs_.size()) break;  // every step is whole
  }
  return wait(gpu, timeout_ns, what.c_str());
}

}  // namespace calypte::cuda
