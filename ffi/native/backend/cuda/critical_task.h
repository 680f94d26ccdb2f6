// How does one request run? As one graph that was built before `ready`: close the gate word, copy in, run,
// copy out, open the gate word; behind it the stream writes the number of the launch into host memory.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/launch.h"

namespace calypte::cuda {

// Where one request's input and output lie, in pinned memory, and the graph that uses them.
struct RequestSlot {
  enum State : uint32_t { free, staging, staged, running };

  std::atomic<uint32_t> state{free};
  uint64_t number = 0;  // of the request that it holds
  uint64_t sensor_ns = 0;
  Mapped input;
  Mapped output;
  CUgraphExec exec = nullptr;
};

class CriticalTask {
 public:
  CriticalTask(const Work &work, const std::vector<Buffer> &buffers, const KernelTable &kernels);
  ~CriticalTask();

  // Makes the stream, the slots and their graphs, and runs each kernel. Loading.
  int32_t prepare(Gpu &gpu, const std::vector<Buffer> &buffers);
  // Runs the graph of slot 0 by itself and waits; GPU time in `duration_ns`. Loading.
  int32_t run_once(const Gpu &gpu, const uint8_t *input, uint8_t *output, uint64_t timeout_ns, uint64_t &duration_ns);

  // Launches as the dispatcher will, up to `most` times within `budget_ns`: launch to completion as the host sees it.
  int32_t measure(const Gpu &gpu, uint32_t most, uint64_t budget_ns, std::vector<uint64_t> &times_ns);
  // Builds its graphs again if its plugin was captured again. Loading.
  int32_t refresh(Gpu &gpu, const std::vector<Buffer> &buffers);
  // Where CPU and GPU share memory: tries kernels that read the input where the CPU put it, and keeps to that if it
  // pays and gives the same output. Nothing is in flight; run_once came before. Loading.
  int32_t choose_input(Gpu &gpu, const std::vector<Buffer> &buffers, core::TaskConfig &config);
  // The copy of its input gives background the time to leave.
  bool hides_drain() const { return closed_at_bytes_ > 0; }

  // Any thread: claims a free slot for `number`, or null.
  RequestSlot *claim();
  // The slot staged for `number`, or null.
  RequestSlot *staged(uint64_t number);

  // Dispatcher: launches `slot`'s graph. Completion shows in `poll`.
  CUresult launch(const Gpu &gpu, RequestSlot &slot);
  // Dispatcher: true once, when the launch in flight has completed.
  bool poll();
  bool in_flight() const { return running_ != nullptr; }
  // Dispatcher: closes (1) or opens (0) the task's gate word, in its stream.
  CUresult write_gate(const Gpu &gpu, uint32_t value) const {
    return reserved_ ? CUDA_SUCCESS : gpu.write_gate(stream_, task_word(work_.id), value);
  }
  // Dispatcher: the launch that completed is over; its slot is the caller's to free.
  RequestSlot *finish() {
    RequestSlot *slot = running_;
    running_ = nullptr;
    return slot;
  }

  const Work &work() const { return work_; }

  // Io thread only, for frames: the number staged next, and those dropped before they were staged.
  uint64_t next_to_stage = 0;
  std::vector<uint64_t> dropped_unstaged;
  // Takes `number` out of dropped_unstaged; false: it is not there.
  bool forget(uint64_t number) { return std::erase(dropped_unstaged, number) > 0; }

 private:
  int32_t time_copies(const Gpu &gpu, const std::vector<Buffer> &buffers);
  CUresult copy_in(const Gpu &gpu, const RequestSlot &slot, const std::vector<Buffer> &buffers, bool gated);
  CUresult copy_out(const RequestSlot &slot, const std::vector<Buffer> &buffers);
  int32_t build(Gpu &gpu, RequestSlot &slot, const std::vector<Buffer> &buffers);
  CUresult launch_work(const Gpu &gpu, RequestSlot &slot);
  CUresult call(const Gpu &gpu, RequestSlot &slot);
  CUresult record(const Gpu &gpu, RequestSlot &slot, const std::vector<Buffer> &buffers);
  bool can_map_input(const std::vector<Buffer> &buffers) const;
  int32_t rebuild(Gpu &gpu, RequestSlot &slot, const std::vector<Buffer> &buffers);
  int32_t best_of(const Gpu &gpu, uint64_t &best_ns, std::vector<uint8_t> &output);

  const Work work_;
  std::vector<Launch> launches_;
  const KernelTable &kernels_;
  plugin::LoadedPlugin *plugin_ = nullptr;          // that does its work, if one does
  uint64_t captures_ = 0;                           // of the plugin, that the graphs were built from
  const std::vector<Buffer> *called_on_ = nullptr;  // the buffers of a plugin that is called for each request
  std::vector<std::unique_ptr<RequestSlot>> slots_;
  const Driver *cu_ = nullptr;
  CUstream stream_ = nullptr;
  CUevent begin_ = nullptr;
  CUevent end_ = nullptr;
  Mapped completion_;  // u32: number of the last launch that completed
  uint32_t launched_ = 0;
  bool polls_event_ = false;  // without stream memory operations
  bool reserved_ = false;     // it has SMs of its own, and closes no gate
  bool maps_input_ = false;   // kernels read the input in its slot: nothing is copied in
  // Idle time within a request: the gate closes when so many bytes of the input are in, and opens ahead of the output.
  uint64_t closed_at_bytes_ = 0;
  bool opens_early_ = false;
  RequestSlot *running_ = nullptr;
};

}  // namespace calypte::cuda
