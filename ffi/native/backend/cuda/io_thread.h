// Who moves inputs in and outputs out? One thread, so that neither the dispatcher nor the feeder ever copies a
// frame. It is the only producer of the results store.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/background_job.h"
#include "backend/cuda/critical_task.h"
#include "engine/ring.h"

namespace calypte::cuda {

// A request that is over, on its way to the results store.
struct FinishedRequest {
  uint32_t task = 0;
  uint32_t flags = 0;
  uint64_t done_ns = 0;
  core::Request request;
  RequestSlot *slot = nullptr;  // null if it never had one
};

class IoThread {
 public:
  using Tasks = std::vector<std::unique_ptr<CriticalTask>>;
  using Jobs = std::vector<std::unique_ptr<BackgroundJob>>;

  IoThread(const Gpu &gpu, const BackendHost &host, Tasks &tasks, Jobs &jobs)
      : gpu_(gpu), host_(host), tasks_(tasks), jobs_(jobs) {}
  ~IoThread() { stop(); }

  // Stages the first inputs, so that `ready` means ready, then starts the thread.
  void start(uint64_t now_ns);
  void stop();

  // Dispatcher.
  bool push(const FinishedRequest &request) {
    const bool pushed = finished_.push(request);
    wake();
    return pushed;
  }
  // Any thread: there is something to move.
  void wake();
  bool poll(core::Event &out) { return events_.pop(out); }

 private:
  void run();
  bool round(uint64_t now_ns);
  void stage_frame(const Work &work, uint64_t sequence, const Mapped &input) const;
  bool stage_requests(CriticalTask &task);
  bool serve_job(BackgroundJob &job, uint32_t id, uint64_t now_ns);
  void sample_jobs(uint64_t now_ns);
  void put_request(const FinishedRequest &finished);
  void put_unit(BackgroundJob &job, uint64_t unit, uint64_t now_ns);

  const Gpu &gpu_;
  const BackendHost host_;
  Tasks &tasks_;
  Jobs &jobs_;
  Ring<FinishedRequest, 256> finished_;
  Ring<core::Event, 1024> events_;
  std::vector<uint64_t> announced_;
  uint64_t start_ns_ = 0;
  uint64_t sampled_ns_ = 0;
  std::atomic<uint32_t> wake_{0};      // futex: the thread sleeps on it
  std::atomic<bool> sleeping_{false};  // so that a wake costs a call of the system only where somebody sleeps
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace calypte::cuda
