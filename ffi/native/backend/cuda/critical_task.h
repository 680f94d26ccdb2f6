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
  CriticalTask(const Work &work, const std::vector<Buffer> &buffers, const std::vector<Kernel> &kernels);
  ~CriticalTask();

  // Makes the stream, the slots and their graphs, and runs each kernel. Loading.
  int32_t prepare(Gpu &gpu, const std::vector<Buffer> &buffers);
  // Runs the graph of slot 0 by itself and waits; GPU time in `duration_ns`. Loading.
  int32_t run_once(const Gpu &gpu, const uint8_t *input, uint8_t *output, uint64_t timeout_ns, uint64_t &duration_ns);

  // Any thread: claims a free slot for `number`, or null.
  RequestSlot *claim();
  // The slot staged for `number`, or null.
  RequestSlot *staged(uint64_t number);

  // Dispatcher: launches `slot`'s graph. Completion shows in `poll`.
  CUresult launch(const Gpu &gpu, RequestSlot &slot);
  // Dispatcher: true once, when the launch in flight has completed.
  bool poll();
  bool in_flight() const { return running_ != nullptr; }
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
  int32_t build(Gpu &gpu, RequestSlot &slot, const std::vector<Buffer> &buffers);
  CUresult launch_work(const Gpu &gpu, RequestSlot &slot);
  CUresult record(const Gpu &gpu, RequestSlot &slot, const std::vector<Buffer> &buffers);

  const Work work_;
  std::vector<Launch> launches_;
  std::vector<std::unique_ptr<RequestSlot>> slots_;
  const Driver *cu_ = nullptr;
  CUstream stream_ = nullptr;
  CUevent begin_ = nullptr;
  CUevent end_ = nullptr;
  Mapped completion_;  // u32: number of the last launch that completed
  uint32_t launched_ = 0;
  bool polls_event_ = false;  // without stream memory operations
  RequestSlot *running_ = nullptr;
};

}  // namespace calypte::cuda
