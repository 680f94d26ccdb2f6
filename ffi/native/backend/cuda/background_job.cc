#include "backend/cuda/background_job.h"

#include <algorithm>
#include <cstring>

#include "engine/clock.h"
#include "engine/error.h"

namespace calypte::cuda {
namespace {

// Values in flight to the device by copies: more than the words of all entries that may be queued.
constexpr uint32_t kStagingWords = 256;
static_assert(kStagingWords > 3 * CALYPTE_MAX_ENTRIES_AHEAD);

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

BackgroundJob::BackgroundJob(const Work &work, core::JobConfig config)
    : work_(work),
      config_(std::move(config)),
      unit_slots_(work.head.input_bytes + work.head.output_bytes > kLargeUnitBytes ? kUnitSlots / 2 : kUnitSlots) {}

BackgroundJob::~BackgroundJob() {
  for (const SegmentGraph &graph : graphs_) {
    if (graph.exec != nullptr) cu_->GraphExecDestroy(graph.exec);
  }
  if (begin_ != nullptr) cu_->EventDestroy(begin_);
  if (end_ != nullptr) cu_->EventDestroy(end_);
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
  CUstreamBatchMemOpParams ops[CALYPTE_MAX_TASKS + 4];
  uint32_t count = 0;
  if (gpu.has(CALYPTE_FEATURE_PARKED_RESUME)) {
    ops[count++] = wait_zero(gpu.gate_word(kHoldWord));
    ops[count++] = wait_zero(gpu.gate_word(kSoftWord));
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
  if (result == CUDA_SUCCESS) result = write_tail(gpu, entry, nullptr);
  return result;
}

// Behind an entry: it is done. Behind a `whole` step the stream itself moves the step word on.
CUresult BackgroundJob::write_tail(const Gpu &gpu, const Entry &entry, const uint64_t *step_word) {
  const CUdeviceptr word_at = control_at(offsetof(ControlBlock, step_word));
  if (sample_wanted_.load(std::memory_order_relaxed) && sample_wanted_.exchange(false, std::memory_order_acquire)) {
    const CUresult copied = cu_->MemcpyDtoHAsync(sample_.host, control_, sizeof(ControlBlock), gpu.background);
    if (copied != CUDA_SUCCESS) return copied;
  }
  if (step_word == nullptr) return copy_word(gpu, entry.done, &entry.number, 4, gpu.background);
  if (gpu.has(CALYPTE_FEATURE_STREAM_MEMOPS)) {
    CUstreamBatchMemOpParams ops[] = {write64(word_at, *step_word), write64(mirror_.device, *step_word),
                                      write32(entry.done, entry.number)};
    return cu_->StreamBatchMemOp(gpu.background, 3, ops, 0);
  }
  CUresult result = copy_word(gpu, word_at, step_word, 8, gpu.background);
  if (result == CUDA_SUCCESS) result = copy_word(gpu, mirror_.device, step_word, 8, gpu.background);
  return result == CUDA_SUCCESS ? copy_word(gpu, entry.done, &entry.number, 4, gpu.background) : result;
}

CUresult BackgroundJob::enqueue_whole(const Gpu &gpu, uint32_t index, uint32_t count, uint64_t step_word,
                                      uint32_t tasks, const Entry &entry) {
  const uint32_t step = config_.segments[index].first_step;
  const bool last = index + count == config_.segments.size();
  const uint64_t unit = core::unit_of(step_word);
  const uint64_t next = last ? core::step_word_of(unit + 1, 0) : core::step_word_of(unit, step + count);
  Launch &launch = *steps_[step].active().launch;
  if (count > 1) {
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < count; ++i) blocks += work_.steps[step + i].grid[0];
    launch.set_blocks(blocks);
  }
  CUresult result = write_head(gpu, entry.number, unit + 1, tasks);
  if (result == CUDA_SUCCESS) result = cu_->EventRecord(entry.begin, gpu.background);
  if (result == CUDA_SUCCESS) result = launch.enqueue(*cu_, gpu.background);
  if (count > 1) launch.set_blocks(work_.steps[step].grid[0]);
  if (result == CUDA_SUCCESS) result = cu_->EventRecord(entry.end, gpu.background);
  if (result == CUDA_SUCCESS) result = write_tail(gpu, entry, &next);
  return result;
}

CUresult BackgroundJob::write_pause(const Gpu &gpu, uint32_t value) {
  return copy_word(gpu, control_at(offsetof(ControlBlock, pause)), &value, 4, gpu.control);
}

int32_t BackgroundJob::sample(const Gpu &gpu, core::Event &out) {
  if (gpu.has(CALYPTE_FEATURE_PARKED_RESUME)) {
    CALYPTE_CU(cu_->MemcpyDtoHAsync(sample_.host, control_, sizeof(ControlBlock), gpu.io), "sample a control block");
    CALYPTE_CU(cu_->StreamSynchronize(gpu.io), "sample a control block");
  } else {
    // The next entry brings it along. In a worker a copy of its own would bring the GPU back to this context at any
    // time, and critical work would wait for the change.
    sample_wanted_.store(true, std::memory_order_release);
  }
  ControlBlock control;
  memcpy(&control, sample_.host, sizeof control);
  out.step_word = control.step_word;
  out.number = control.completed;
  out.leaves = control.leaves;
  out.abandoned = control.abandoned;
  return 0;
}

}  // namespace calypte::cuda
