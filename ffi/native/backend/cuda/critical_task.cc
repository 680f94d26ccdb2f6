#include "backend/cuda/critical_task.h"

#include <sched.h>

#include <cstring>

#include "engine/clock.h"
#include "engine/error.h"

namespace calypte::cuda {
namespace {
// Beyond those that wait: one runs, one is being staged or collected.
constexpr uint32_t kSpareSlots = 2;
}  // namespace

CriticalTask::CriticalTask(const Work &work, const std::vector<Buffer> &buffers, const std::vector<Kernel> &kernels)
    : work_(work) {
  for (const calypte_step &step : work_.steps)
    launches_.emplace_back(step, work_.args, kernels[step.kernel], buffers, JobAddresses{});
}

CriticalTask::~CriticalTask() {
  for (const auto &slot : slots_) {
    if (slot->exec != nullptr) cu_->GraphExecDestroy(slot->exec);
  }
  if (begin_ != nullptr) cu_->EventDestroy(begin_);
  if (end_ != nullptr) cu_->EventDestroy(end_);
}

int32_t CriticalTask::prepare(Gpu &gpu, const std::vector<Buffer> &buffers) {
  if (stream_ != nullptr) return 0;
  cu_ = gpu.cu;
  polls_event_ = !gpu.has(CALYPTE_FEATURE_STREAM_MEMOPS);
  if (const int32_t code = gpu.make_stream(gpu.highest_priority, stream_); code < 0) return code;
  if (const int32_t code = gpu.map_host(4096, completion_, "allocate the completion word"); code < 0) return code;
  CALYPTE_CU(cu_->EventCreate(&begin_, CU_EVENT_DEFAULT), "make an event");
  CALYPTE_CU(cu_->EventCreate(&end_, CU_EVENT_DEFAULT), "make an event");
  for (const Launch &launch : launches_) {
    if (const int32_t code = launch.prepare(gpu); code < 0) return code;
  }
  for (uint32_t i = 0; i < work_.head.queue_depth + kSpareSlots + 1; ++i) {
    auto slot = std::make_unique<RequestSlot>();
    if (work_.head.input_bytes > 0) {
      if (const int32_t code = gpu.map_host(work_.head.input_bytes, slot->input, "allocate an input slot"); code < 0)
        return code;
    }
    if (work_.head.output_bytes > 0) {
      if (const int32_t code = gpu.map_host(work_.head.output_bytes, slot->output, "allocate an output slot"); code < 0)
        return code;
    }
    if (const int32_t code = build(gpu, *slot, buffers); code < 0) return code;
    slots_.push_back(std::move(slot));
  }
  return 0;
}

int32_t CriticalTask::build(Gpu &gpu, RequestSlot &slot, const std::vector<Buffer> &buffers) {
  const std::string what = "task '" + work_.name() + "': build its graph";
  CUgraph graph = nullptr;
  CALYPTE_CU(cu_->StreamBeginCapture(stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), what.c_str());
  const CUresult recorded = record(gpu, slot, buffers);
  const CUresult ended = cu_->StreamEndCapture(stream_, &graph);  // also after a failure: the stream must leave capture
  if (recorded != CUDA_SUCCESS) return fail_cuda(recorded, "capture", what.c_str());
  CALYPTE_CU(ended, what.c_str());
  const CUresult made = cu_->GraphInstantiate(&slot.exec, graph, 0);
  cu_->GraphDestroy(graph);
  CALYPTE_CU(made, what.c_str());
  CALYPTE_CU(cu_->GraphUpload(slot.exec, stream_), what.c_str());
  return 0;
}

CUresult CriticalTask::record(const Gpu &gpu, RequestSlot &slot, const std::vector<Buffer> &buffers) {
  const bool gated = gpu.has(CALYPTE_FEATURE_GRAPH_MEMOPS);
  CUresult result = gated ? gpu.write_gate(stream_, task_word(work_.id), 1) : CUDA_SUCCESS;
  for (const calypte_io &io : work_.inputs) {
    if (result == CUDA_SUCCESS)
      result = cu_->MemcpyHtoDAsync(buffers[io.buffer].address, slot.input.host + io.offset, io.size_bytes, stream_);
  }
  for (Launch &launch : launches_) {
    if (result == CUDA_SUCCESS) result = launch.enqueue(*cu_, stream_);
  }
  for (const calypte_io &io : work_.outputs) {
    if (result == CUDA_SUCCESS)
      result = cu_->MemcpyDtoHAsync(slot.output.host + io.offset, buffers[io.buffer].address, io.size_bytes, stream_);
  }
  if (result == CUDA_SUCCESS && gated) result = gpu.write_gate(stream_, task_word(work_.id), 0);
  return result;
}

CUresult CriticalTask::launch_work(const Gpu &gpu, RequestSlot &slot) {
  if (gpu.has(CALYPTE_FEATURE_GRAPH_MEMOPS)) return cu_->GraphLaunch(slot.exec, stream_);
  CUresult result = gpu.write_gate(stream_, task_word(work_.id), 1);
  if (result == CUDA_SUCCESS) result = cu_->GraphLaunch(slot.exec, stream_);
  if (result == CUDA_SUCCESS) result = gpu.write_gate(stream_, task_word(work_.id), 0);
  return result;
}

CUresult CriticalTask::launch(const Gpu &gpu, RequestSlot &slot) {
  slot.state.store(RequestSlot::running, std::memory_order_relaxed);
  running_ = &slot;
  launched_ += 1;
  CUresult result = launch_work(gpu, slot);
  if (result != CUDA_SUCCESS) return result;
  if (polls_event_) return cu_->EventRecord(end_, stream_);
  return cu_->StreamWriteValue32(stream_, completion_.device, launched_, CU_STREAM_WRITE_VALUE_DEFAULT);
}

bool CriticalTask::poll() {
  if (running_ == nullptr) return false;
  if (polls_event_) return cu_->EventQuery(end_) == CUDA_SUCCESS;
  return std::atomic_ref(*reinterpret_cast<uint32_t *>(completion_.host)).load(std::memory_order_acquire) == launched_;
}

RequestSlot *CriticalTask::claim() {
  for (const auto &slot : slots_) {
    uint32_t expected = RequestSlot::free;
    if (slot->state.compare_exchange_strong(expected, RequestSlot::staging, std::memory_order_acquire))
      return slot.get();
  }
  return nullptr;
}

RequestSlot *CriticalTask::staged(uint64_t number) {
  for (const auto &slot : slots_) {
    if (slot->state.load(std::memory_order_acquire) == RequestSlot::staged && slot->number == number) return slot.get();
  }
  return nullptr;
}

int32_t CriticalTask::run_once(const Gpu &gpu, const uint8_t *input, uint8_t *output, uint64_t timeout_ns,
                               uint64_t &duration_ns) {
  const std::string what = "run task '" + work_.name() + "' once";
  RequestSlot &slot = *slots_.front();
  if (input != nullptr) memcpy(slot.input.host, input, work_.head.input_bytes);
  CALYPTE_CU(cu_->EventRecord(begin_, stream_), what.c_str());
  CALYPTE_CU(launch_work(gpu, slot), what.c_str());
  CALYPTE_CU(cu_->EventRecord(end_, stream_), what.c_str());
  const uint64_t give_up_ns = monotonic_ns() + timeout_ns;
  for (CUresult result; (result = cu_->EventQuery(end_)) != CUDA_SUCCESS; sched_yield()) {
    if (result != CUDA_ERROR_NOT_READY) return fail_cuda(result, "run", what.c_str());
    if (monotonic_ns() > give_up_ns)
      return fail(CALYPTE_E_TIMEOUT, "%s: it did not end within %.1f s", what.c_str(),
                  static_cast<double>(timeout_ns) * 1e-9);
  }
  float milliseconds = 0;
  CALYPTE_CU(cu_->EventElapsedTime(&milliseconds, begin_, end_), what.c_str());
  duration_ns = static_cast<uint64_t>(static_cast<double>(milliseconds) * 1e6);
  if (output != nullptr) memcpy(output, slot.output.host, work_.head.output_bytes);
  return 0;
}

}  // namespace calypte::cuda
