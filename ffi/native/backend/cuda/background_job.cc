#include "backend/cuda/background_job.h"

#include <sched.h>

#include <algorithm>
#include <cstring>

#include "engine/clock.h"
#include "engine/error.h"

namespace calypte::cuda {
namespace {

constexpr uint32_t kMostWorkers = 65535;
// Values in flight to the device by copies: more than the words of all entries that may be queued.
constexpr uint32_t kStagingWords = 256;
static_assert(kStagingWords > 3 * CALYPTE_MAX_ENTRIES_AHEAD);

// Steps shorter than this keep a full GPU: their time is mostly launch, and cannot be told apart.
constexpr uint64_t kTunedStepNs = 100'000;
// Fewer workers may cost a step this much: one part in so many.
constexpr uint64_t kTunedLossParts = 128;
constexpr int kTuningRuns = 3;
constexpr uint64_t kTuningTimeoutNs = 10'000'000'000;

uint32_t workers_for(const calypte_step &step, uint64_t wanted) {
  return static_cast<uint32_t>(std::min({wanted, virtual_blocks(step), uint64_t{kMostWorkers}}));
}

CUstreamBatchMemOpParams wait_zero(CUdeviceptr address) {
  CUstreamBatchMemOpParams op{};
  op.waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
  op.waitValue.address = address;
  op.waitValue.value = 0;
  op.waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
  return op;
}

CUstreamBatchMemOpParams write32(CUdeviceptr address, uint32_t value) {
  CUstreamBatchMemOpParams op{};
  op.writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
  op.writeValue.address = address;
  op.writeValue.value = value;
  return op;
}

CUstreamBatchMemOpParams write64(CUdeviceptr address, uint64_t value) {
  CUstreamBatchMemOpParams op{};
  op.writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_64;
  op.writeValue.address = address;
  op.writeValue.value64 = value;
  return op;
}

}  // namespace

BackgroundJob::BackgroundJob(const Work &work, core::JobConfig config) : work_(work), config_(std::move(config)) {}

BackgroundJob::~BackgroundJob() {
  for (const SegmentGraph &graph : graphs_) {
    if (graph.exec != nullptr) cu_->GraphExecDestroy(graph.exec);
  }
  if (begin_ != nullptr) cu_->EventDestroy(begin_);
  if (end_ != nullptr) cu_->EventDestroy(end_);
}

// ---- Loading

int32_t BackgroundJob::make_slots(Gpu &gpu) {
  CUdeviceptr table[2 * kUnitSlots]{};
  for (uint32_t i = 0; i < kUnitSlots; ++i) {
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

int32_t BackgroundJob::make_launches(Gpu &gpu, const std::vector<Buffer> &buffers, const std::vector<Kernel> &kernels) {
  const JobAddresses addresses{control_, tables_, tables_ + kUnitSlots * sizeof(CUdeviceptr), kUnitSlots};
  const uint32_t steps = static_cast<uint32_t>(work_.steps.size());
  std::vector<uint32_t> workers(steps, 0);
  resident_.assign(steps, 0);
  uint32_t most = 1;
  for (uint32_t i = 0; i < steps; ++i) {
    const calypte_step &step = work_.steps[i];
    launches_.emplace_back(step, work_.args, kernels[step.kernel], buffers, addresses);
    if (const int32_t code = launches_.back().prepare(gpu); code < 0) return code;
    if (step.level != CALYPTE_LEVEL_BLOCK) continue;
    int resident = 0;
    CALYPTE_CU(cu_->OccupancyMaxActiveBlocks(&resident, kernels[step.kernel].function,
                                             static_cast<int>(step.block[0] * step.block[1] * step.block[2]),
                                             step.shared_bytes),
               "ask for a kernel's occupancy");
    if (resident == 0)
      return fail(CALYPTE_E_INVALID, "job '%s' step %u: a block of kernel '%s' does not fit on an SM", work_.head.name,
                  i, kernels[step.kernel].name.c_str());
    resident_[i] = static_cast<uint32_t>(resident);
    workers[i] = workers_for(step, step.workers == 0 ? resident_[i] * static_cast<uint64_t>(gpu.sms) : step.workers);
    most = std::max(most, workers[i]);
  }
  records_bytes_ = uint64_t{most} * 16;
  if (const int32_t code = gpu.allocate(records_bytes_, records_, "allocate the worker records"); code < 0) return code;
  if (const int32_t code = gpu.allocate(steps * sizeof(uint32_t), stored_, "allocate the stored workers"); code < 0)
    return code;
  for (uint32_t i = 0; i < steps; ++i) {
    if (work_.steps[i].level != CALYPTE_LEVEL_BLOCK) continue;
    launches_[i].add_worker_parameters(gpu.gate, control_, records_, stored_ + i * sizeof(uint32_t), i, steps,
                                       workers[i]);
    if (const int32_t code = store_workers(gpu, i, workers[i]); code < 0) return code;
  }
  return 0;
}

int32_t BackgroundJob::prepare(Gpu &gpu, const std::vector<Buffer> &buffers, const std::vector<Kernel> &kernels,
                               const uint8_t *input) {
  if (cu_ != nullptr) return 0;
  cu_ = gpu.cu;
  CALYPTE_CU(cu_->EventCreate(&begin_, CU_EVENT_DEFAULT), "make an event");
  CALYPTE_CU(cu_->EventCreate(&end_, CU_EVENT_DEFAULT), "make an event");
  for (Mapped *mapped : {&mirror_, &sample_, &staging_}) {
    if (const int32_t code = gpu.map_host(4096, *mapped, "allocate a job's host words"); code < 0) return code;
  }
  if (const int32_t code = gpu.allocate(sizeof(ControlBlock), control_, "allocate a control block"); code < 0)
    return code;
  if (const int32_t code = make_slots(gpu); code < 0) return code;
  if (const int32_t code = make_launches(gpu, buffers, kernels); code < 0) return code;
  return tune(gpu, input);
}

int32_t BackgroundJob::build_all(Gpu &gpu) {
  graphs_.resize(config_.segments.size());
  for (uint32_t i = 0; i < graphs_.size(); ++i) {
    if (const int32_t code = build(gpu, i); code < 0) return code;
  }
  return 0;
}

// Only while nothing is granted.
int32_t BackgroundJob::store_workers(Gpu &gpu, uint32_t step, uint32_t workers) {
  launches_[step].set_workers(workers);
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
  for (uint32_t i = 0; i < segment.step_count && recorded == CUDA_SUCCESS; ++i)
    recorded = launches_[segment.first_step + i].enqueue(*cu_, gpu.background);
  const CUresult ended = cu_->StreamEndCapture(gpu.background, &graph);
  if (recorded != CUDA_SUCCESS) return fail_cuda(recorded, "capture", what.c_str());
  CALYPTE_CU(ended, what.c_str());
  const CUresult made = cu_->GraphInstantiate(&graphs_[index].exec, graph, 0);
  cu_->GraphDestroy(graph);
  CALYPTE_CU(made, what.c_str());
  CALYPTE_CU(cu_->GraphUpload(graphs_[index].exec, gpu.background), what.c_str());
  return 0;
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
    CALYPTE_CU(segment.whole ? launches_[segment.first_step].enqueue(*cu_, gpu.background)
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

// Each step by itself, the shortest of several runs.
int32_t BackgroundJob::time_steps(Gpu &gpu, const uint8_t *input, std::vector<uint64_t> &best_ns) {
  const std::string what = "tune job '" + work_.name() + "'";
  const uint64_t one_unit = 1;
  const uint32_t steps = static_cast<uint32_t>(launches_.size());
  best_ns.assign(steps, core::kNever);
  for (int run = 0; run < kTuningRuns; ++run) {
    if (const int32_t code = reset(gpu); code < 0) return code;
    if (input != nullptr) memcpy(slots_[0].input.host, input, work_.head.input_bytes);
    CALYPTE_CU(copy_word(gpu, control_at(offsetof(ControlBlock, granted)), &one_unit, 8, gpu.background), what.c_str());
    for (uint32_t i = 0; i < steps; ++i) {
      const uint32_t entry = i + 1;
      const uint64_t next = core::step_word_of(0, i + 1);
      CALYPTE_CU(copy_word(gpu, control_at(offsetof(ControlBlock, entry)), &entry, 4, gpu.background), what.c_str());
      CALYPTE_CU(cu_->EventRecord(begin_, gpu.background), what.c_str());
      CALYPTE_CU(launches_[i].enqueue(*cu_, gpu.background), what.c_str());
      CALYPTE_CU(cu_->EventRecord(end_, gpu.background), what.c_str());
      if (resident_[i] == 0)
        CALYPTE_CU(copy_word(gpu, control_at(offsetof(ControlBlock, step_word)), &next, 8, gpu.background),
                   what.c_str());
      if (const int32_t code = wait(gpu, kTuningTimeoutNs, what.c_str()); code < 0) return code;
      float milliseconds = 0;
      CALYPTE_CU(cu_->EventElapsedTime(&milliseconds, begin_, end_), what.c_str());
      best_ns[i] = std::min(best_ns[i], static_cast<uint64_t>(static_cast<double>(milliseconds) * 1e6));
    }
  }
  return reset(gpu);
}

int32_t BackgroundJob::tune(Gpu &gpu, const uint8_t *input) {
  std::vector<uint64_t> full_ns, fewer_ns;
  if (const int32_t code = time_steps(gpu, input, full_ns); code < 0) return code;
  std::vector<uint32_t> per_sm = resident_;
  std::vector<bool> open(per_sm.size());
  for (size_t i = 0; i < open.size(); ++i)
    open[i] = work_.steps[i].workers == 0 && resident_[i] > 1 && full_ns[i] >= kTunedStepNs;
  // Halves, down to one block per SM, as long as nothing is lost.
  while (std::find(open.begin(), open.end(), true) != open.end()) {
    for (uint32_t i = 0; i < open.size(); ++i) {
      if (!open[i]) continue;
      const uint32_t workers = workers_for(work_.steps[i], uint64_t{per_sm[i] / 2} * static_cast<uint64_t>(gpu.sms));
      if (const int32_t code = store_workers(gpu, i, workers); code < 0) return code;
    }
    if (const int32_t code = time_steps(gpu, input, fewer_ns); code < 0) return code;
    for (uint32_t i = 0; i < open.size(); ++i) {
      if (!open[i]) continue;
      open[i] = fewer_ns[i] <= full_ns[i] + full_ns[i] / kTunedLossParts;
      if (open[i]) per_sm[i] /= 2;
      const uint32_t workers = workers_for(work_.steps[i], uint64_t{per_sm[i]} * static_cast<uint64_t>(gpu.sms));
      if (const int32_t code = store_workers(gpu, i, workers); code < 0) return code;
      open[i] = open[i] && per_sm[i] > 1;
    }
  }
  return build_all(gpu);
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

// ---- Running

CUresult BackgroundJob::copy_word(const Gpu &gpu, CUdeviceptr target, const void *value, size_t size_bytes,
                                  CUstream stream) {
  if (gpu.has(CALYPTE_FEATURE_STREAM_MEMOPS)) {
    uint64_t word = 0;
    memcpy(&word, value, size_bytes);
    return size_bytes == 8
               ? cu_->StreamWriteValue64(stream, target, word, CU_STREAM_WRITE_VALUE_DEFAULT)
               : cu_->StreamWriteValue32(stream, target, static_cast<uint32_t>(word), CU_STREAM_WRITE_VALUE_DEFAULT);
  }
  uint8_t *from = staging_.host + 8 * (staging_next_++ % kStagingWords);
  memcpy(from, value, size_bytes);
  return cu_->MemcpyHtoDAsync(target, from, size_bytes, stream);
}

// Ahead of an entry. `granted` travels in the same stream as the entry, so that it only grows on the device too.
CUresult BackgroundJob::write_head(const Gpu &gpu, uint32_t number, uint64_t granted, uint32_t tasks) {
  const CUdeviceptr entry_at = control_at(offsetof(ControlBlock, entry)),
                    granted_at = control_at(offsetof(ControlBlock, granted));
  if (!gpu.has(CALYPTE_FEATURE_STREAM_MEMOPS)) {
    const CUresult result = copy_word(gpu, entry_at, &number, 4, gpu.background);
    return result == CUDA_SUCCESS ? copy_word(gpu, granted_at, &granted, 8, gpu.background) : result;
  }
  CUstreamBatchMemOpParams ops[CALYPTE_MAX_TASKS + 3];
  uint32_t count = 0;
  if (gpu.has(CALYPTE_FEATURE_PARKED_RESUME)) {
    ops[count++] = wait_zero(gpu.gate_word(kHoldWord));
    for (uint32_t task = 0; task < tasks; ++task) ops[count++] = wait_zero(gpu.gate_word(task_word(task)));
  }
  ops[count++] = write32(entry_at, number);
  ops[count++] = write64(granted_at, granted);
  return cu_->StreamBatchMemOp(gpu.background, count, ops, 0);
}

CUresult BackgroundJob::enqueue_entry(const Gpu &gpu, uint32_t segment, uint64_t granted, uint32_t tasks,
                                      const Entry &entry) {
  CUresult result = write_head(gpu, entry.number, granted, tasks);
  if (result == CUDA_SUCCESS) result = cu_->EventRecord(entry.begin, gpu.background);
  if (result == CUDA_SUCCESS) result = cu_->GraphLaunch(graphs_[segment].exec, gpu.background);
  if (result == CUDA_SUCCESS) result = cu_->EventRecord(entry.end, gpu.background);
  if (result == CUDA_SUCCESS) result = copy_word(gpu, entry.done, &entry.number, 4, gpu.background);
  return result;
}

CUresult BackgroundJob::enqueue_whole(const Gpu &gpu, uint32_t index, uint64_t step_word, uint32_t tasks,
                                      const Entry &entry) {
  const core::Segment &segment = config_.segments[index];
  const bool last = index + 1 == config_.segments.size();
  const uint64_t unit = core::unit_of(step_word);
  const uint64_t next = last ? core::step_word_of(unit + 1, 0) : core::step_word_of(unit, segment.first_step + 1);
  CUresult result = write_head(gpu, entry.number, unit + 1, tasks);
  if (result == CUDA_SUCCESS) result = cu_->EventRecord(entry.begin, gpu.background);
  if (result == CUDA_SUCCESS) result = launches_[segment.first_step].enqueue(*cu_, gpu.background);
  if (result == CUDA_SUCCESS) result = cu_->EventRecord(entry.end, gpu.background);
  if (result == CUDA_SUCCESS)
    result = copy_word(gpu, control_at(offsetof(ControlBlock, step_word)), &next, 8, gpu.background);
  if (result == CUDA_SUCCESS) result = copy_word(gpu, mirror_.device, &next, 8, gpu.background);
  if (result == CUDA_SUCCESS) result = copy_word(gpu, entry.done, &entry.number, 4, gpu.background);
  return result;
}

CUresult BackgroundJob::write_pause(const Gpu &gpu, uint32_t value) {
  return copy_word(gpu, control_at(offsetof(ControlBlock, pause)), &value, 4, gpu.control);
}

int32_t BackgroundJob::sample_leaves(const Gpu &gpu, uint64_t &leaves) {
  CALYPTE_CU(cu_->MemcpyDtoHAsync(sample_.host, control_, sizeof(ControlBlock), gpu.io), "sample a control block");
  CALYPTE_CU(cu_->StreamSynchronize(gpu.io), "sample a control block");
  memcpy(&leaves, sample_.host + offsetof(ControlBlock, leaves), sizeof leaves);
  return 0;
}

}  // namespace calypte::cuda
