#include "backend/cuda/critical_task.h"

#include <sched.h>

#include <algorithm>
#include <cstring>

#include "engine/clock.h"
#include "engine/error.h"

namespace calypte::cuda {
namespace {
// Beyond those that wait: one runs, one is being staged or collected.
constexpr uint32_t kSpareSlots = 2;
// While the last of the input is copied, so long, background leaves; before that it runs on, if that is worth closing
// later.
constexpr uint64_t kLeaveNs = 50'000, kLeastHarvestNs = 50'000;
// An output whose copy takes this long goes out while background runs again.
constexpr uint64_t kLongOutputNs = 30'000;
constexpr uint64_t kPageBytes = 4096;
// As cuMemAlloc aligns: kernels may rely on it.
constexpr uint64_t kBufferAlignment = 256;
constexpr int kInputRuns = 7;
constexpr uint64_t kMeasureTimeoutNs = 10'000'000'000;
}  // namespace

CriticalTask::CriticalTask(const Work &work, const std::vector<Buffer> &buffers, const KernelTable &kernels)
    : work_(work), kernels_(kernels) {
  for (const calypte_step &step : work_.steps)
    launches_.emplace_back(step, work_.args, kernels[step.kernel], buffers, JobAddresses{});
  for (const Launch &launch : launches_) {
    if (launch.plugin() != nullptr) plugin_ = launch.plugin();
  }
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
  if (plugin_ != nullptr) {
    captures_ = plugin_->captures();
    if (work_.head.yield == CALYPTE_YIELD_RESERVED)
      return fail(CALYPTE_E_INVALID,
                  "task '%s': a plugin cannot be kept to the SMs of `yield: reserved`; take always or when-needed",
                  work_.head.name);
  }
  reserved_ = work_.head.yield == CALYPTE_YIELD_RESERVED && gpu.has(CALYPTE_FEATURE_RESERVED_SMS);
  if (const int32_t code =
          reserved_ ? gpu.make_reserved_stream(stream_) : gpu.make_stream(gpu.highest_priority, stream_);
      code < 0)
    return code;
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
    slots_.push_back(std::move(slot));
  }
  if (const int32_t code = time_copies(gpu, buffers); code < 0) return code;
  for (const auto &slot : slots_) {
    if (const int32_t code = build(gpu, *slot, buffers); code < 0) return code;
  }
  return 0;
}

// How long input and output take decides when the gate closes and opens: while they move, no SM has work.
int32_t CriticalTask::time_copies(const Gpu &gpu, const std::vector<Buffer> &buffers) {
  uint64_t in_ns = core::kNever, out_ns = core::kNever;
  for (int i = 0; i < 3; ++i) {
    for (const bool in : {true, false}) {
      CALYPTE_CU(cu_->EventRecord(begin_, stream_), "time the copies of a task");
      CALYPTE_CU(in ? copy_in(gpu, *slots_[0], buffers, false) : copy_out(*slots_[0], buffers), "time the copies");
      CALYPTE_CU(cu_->EventRecord(end_, stream_), "time the copies of a task");
      CALYPTE_CU(cu_->StreamSynchronize(stream_), "time the copies of a task");
      float milliseconds = 0;
      CALYPTE_CU(cu_->EventElapsedTime(&milliseconds, begin_, end_), "time the copies of a task");
      uint64_t &best_ns = in ? in_ns : out_ns;
      best_ns = std::min(best_ns, static_cast<uint64_t>(static_cast<double>(milliseconds) * 1e6));
    }
  }
  if (!gpu.has(CALYPTE_FEATURE_GRAPH_MEMOPS) || reserved_) return 0;
  if (in_ns >= kLeaveNs + kLeastHarvestNs) {
    uint64_t bytes = 0;
    for (const calypte_io &io : work_.inputs) bytes += io.size_bytes;
    closed_at_bytes_ = bytes / in_ns * (in_ns - kLeaveNs) / kPageBytes * kPageBytes;
  }
  opens_early_ = out_ns >= kLongOutputNs && !work_.outputs.empty();
  return 0;
}

// With the gate closed on the way, if it is `gated`.
CUresult CriticalTask::copy_in(const Gpu &gpu, const RequestSlot &slot, const std::vector<Buffer> &buffers,
                               bool gated) {
  if (maps_input_) return gated ? gpu.write_gate(stream_, task_word(work_.id), 1) : CUDA_SUCCESS;
  CUresult result = CUDA_SUCCESS;
  uint64_t done = 0;
  bool closed = !gated;
  for (const calypte_io &io : work_.inputs) {
    for (uint64_t at = 0; at < io.size_bytes && result == CUDA_SUCCESS;) {
      if (!closed && done >= closed_at_bytes_) {
        closed = true;
        result = gpu.write_gate(stream_, task_word(work_.id), 1);
        continue;
      }
      const uint64_t rest = io.size_bytes - at, piece = closed ? rest : std::min(rest, closed_at_bytes_ - done);
      result = cu_->MemcpyHtoDAsync(buffers[io.buffer].address + at, slot.input.host + io.offset + at, piece, stream_);
      at += piece;
      done += piece;
    }
  }
  return closed || result != CUDA_SUCCESS ? result : gpu.write_gate(stream_, task_word(work_.id), 1);
}

CUresult CriticalTask::copy_out(const RequestSlot &slot, const std::vector<Buffer> &buffers) {
  CUresult result = CUDA_SUCCESS;
  for (const calypte_io &io : work_.outputs) {
    if (result == CUDA_SUCCESS)
      result = cu_->MemcpyDtoHAsync(slot.output.host + io.offset, buffers[io.buffer].address, io.size_bytes, stream_);
  }
  return result;
}

int32_t CriticalTask::measure(const Gpu &gpu, uint32_t most, uint64_t budget_ns, std::vector<uint64_t> &times_ns) {
  const std::string what = "measure task '" + work_.name() + "'";
  RequestSlot &slot = *slots_.front();
  const uint64_t begin_ns = monotonic_ns();
  for (uint32_t i = 0; i < most && monotonic_ns() < begin_ns + budget_ns; ++i) {
    const uint64_t launch_ns = monotonic_ns();
    CALYPTE_CU(launch(gpu, slot), what.c_str());
    while (!poll()) {
      if (monotonic_ns() > launch_ns + kMeasureTimeoutNs)
        return fail(CALYPTE_E_TIMEOUT, "%s: it did not end within 10 s", what.c_str());
    }
    times_ns.push_back(monotonic_ns() - launch_ns);
    finish()->state.store(RequestSlot::free, std::memory_order_relaxed);
  }
  return 0;
}

// A buffer must be the input and nothing but the input, and lie as well in a slot as it does in the GPU's memory.
bool CriticalTask::can_map_input(const std::vector<Buffer> &buffers) const {
  if (plugin_ != nullptr) return false;  // it knows one address
  return !work_.inputs.empty() && std::all_of(work_.inputs.begin(), work_.inputs.end(), [&](const calypte_io &io) {
    return io.offset % kBufferAlignment == 0 && io.size_bytes == buffers[io.buffer].size_bytes;
  });
}

int32_t CriticalTask::rebuild(Gpu &gpu, RequestSlot &slot, const std::vector<Buffer> &buffers) {
  const CUgraphExec before = slot.exec;
  slot.exec = nullptr;
  const int32_t code = build(gpu, slot, buffers);
  if (before != nullptr) cu_->GraphExecDestroy(before);
  return code;
}

// Of the graph of slot 0, on the input that lies there.
int32_t CriticalTask::best_of(const Gpu &gpu, uint64_t &best_ns, std::vector<uint8_t> &output) {
  best_ns = core::kNever;
  output.resize(work_.head.output_bytes);
  for (int i = 0; i < kInputRuns; ++i) {
    uint64_t duration_ns = 0;
    if (const int32_t code = run_once(gpu, nullptr, output.data(), kMeasureTimeoutNs, duration_ns); code < 0)
      return code;
    best_ns = std::min(best_ns, duration_ns);
  }
  return 0;
}

int32_t CriticalTask::choose_input(Gpu &gpu, const std::vector<Buffer> &buffers, core::TaskConfig &config) {
  if (!gpu.has(CALYPTE_FEATURE_INTEGRATED) || maps_input_ || !can_map_input(buffers)) return 0;
  uint64_t copied_ns = 0, mapped_ns = 0;
  std::vector<uint8_t> copied, mapped;
  if (const int32_t code = best_of(gpu, copied_ns, copied); code < 0) return code;
  const uint64_t closed_at_bytes = closed_at_bytes_;
  maps_input_ = true;
  closed_at_bytes_ = 0;  // there is no copy during which background could go on
  if (const int32_t code = rebuild(gpu, *slots_[0], buffers); code < 0) return code;
  if (const int32_t code = best_of(gpu, mapped_ns, mapped); code < 0) return code;
  config.input_path = core::choose_input_path(copied_ns, mapped_ns, copied == mapped);
  config.copy_costs_ns = copied_ns > mapped_ns ? copied_ns - mapped_ns : 0;
  if (config.input_path != core::InputPath::mapped) {
    maps_input_ = false;
    closed_at_bytes_ = closed_at_bytes;
    return rebuild(gpu, *slots_[0], buffers);
  }
  for (size_t i = 1; i < slots_.size(); ++i) {
    if (const int32_t code = rebuild(gpu, *slots_[i], buffers); code < 0) return code;
  }
  return 0;
}

int32_t CriticalTask::build(Gpu &gpu, RequestSlot &slot, const std::vector<Buffer> &buffers) {
  const std::string what = "task '" + work_.name() + "': build its graph";
  if (plugin_ != nullptr && plugin_->bracketed()) {
    called_on_ = &buffers;
    return 0;
  }
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
  const bool gated = gpu.has(CALYPTE_FEATURE_GRAPH_MEMOPS) && !reserved_;
  CUresult result = copy_in(gpu, slot, buffers, gated);
  if (maps_input_) {
    std::vector<Buffer> own = buffers;
    for (const calypte_io &io : work_.inputs) own[io.buffer].address = slot.input.device + io.offset;
    for (const calypte_step &step : work_.steps) {
      // The graph keeps the arguments.
      Launch launch(step, work_.args, kernels_[step.kernel], own, JobAddresses{});
      if (result == CUDA_SUCCESS) result = launch.enqueue(*cu_, stream_);
    }
  } else {
    for (Launch &launch : launches_) {
      if (result == CUDA_SUCCESS) result = launch.enqueue(*cu_, stream_);
    }
  }
  if (result == CUDA_SUCCESS && opens_early_) result = gpu.write_gate(stream_, task_word(work_.id), 0);
  if (result == CUDA_SUCCESS) result = copy_out(slot, buffers);
  if (result == CUDA_SUCCESS && gated && !opens_early_) result = gpu.write_gate(stream_, task_word(work_.id), 0);
  return result;
}

// A plugin that no graph can hold: between closing and opening the gate, it is called.
CUresult CriticalTask::call(const Gpu &gpu, RequestSlot &slot) {
  CUresult result = cu_->CtxSetCurrent(gpu.context);  // of whichever thread this is: the plugin needs one
  if (result == CUDA_SUCCESS) result = write_gate(gpu, 1);
  if (result == CUDA_SUCCESS) result = copy_in(gpu, slot, *called_on_, false);
  for (Launch &launch : launches_) {
    if (result == CUDA_SUCCESS) result = launch.enqueue(*cu_, stream_);
  }
  if (result == CUDA_SUCCESS) result = copy_out(slot, *called_on_);
  return result == CUDA_SUCCESS ? write_gate(gpu, 0) : result;
}

int32_t CriticalTask::refresh(Gpu &gpu, const std::vector<Buffer> &buffers) {
  if (plugin_ == nullptr) return 0;
  if (const int32_t code = plugin_->refresh(); code < 0) return code;
  if (captures_ == plugin_->captures()) return 0;
  for (const auto &slot : slots_) {
    if (const int32_t code = rebuild(gpu, *slot, buffers); code < 0) return code;
  }
  captures_ = plugin_->captures();
  return 0;
}

CUresult CriticalTask::launch_work(const Gpu &gpu, RequestSlot &slot) {
  if (called_on_ != nullptr) return call(gpu, slot);
  if (gpu.has(CALYPTE_FEATURE_GRAPH_MEMOPS) || reserved_) return cu_->GraphLaunch(slot.exec, stream_);
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
