// How does the process of an isolated job do what the engine asks? One thread takes commands from the page, has the
// backend carry them out, and tells the engine what comes of it. Nothing waits in a stream for the gate: a wait in
// another context costs the critical work milliseconds. What the gate drives away comes back when the engine asks
// again.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "backend/backend.h"
#include "worker/page.h"

namespace calypte::worker {

class Host {
 public:
  // Maps the page that an engine made for the job with this digest. Null with the error set.
  static std::unique_ptr<Host> join(const char *path, const uint8_t (&digest)[32]);
  ~Host();

  bool has_handle() const { return page_->has_handle != 0; }
  const uint8_t (&handle() const)[kHandleBytes] { return page_->handle; }
  // What the engine knows of the job, from the worker that described it.
  const calypte_isolated &job() const { return page_->job; }
  // Has the job's kernels read the gate line in the page; negative: they cannot.
  int32_t adopt_page(Backend &backend) const {
    return backend.adopt_gate_memory(page_, sizeof(Page), &page_->gate_closed);
  }
  // Units count from here on.
  uint64_t first_unit() const { return first_unit_; }

  // Tells the engine that the job is there, and serves. `own_gate`: the job's kernels read a gate line of this process,
  // which has to follow the engine's.
  int32_t start(Backend *backend, bool own_gate);
  void stop();
  // Why it serves no more; empty: it does.
  std::string fault() const;
  bool gpu_failed() const { return gpu_failed_.load(std::memory_order_acquire); }

 private:
  explicit Host(Page *page) : page_(page) {}
  void serve();
  bool take_commands(uint64_t now_ns);
  bool send_reports(uint64_t now_ns);
  void follow_gate(uint64_t now_ns);
  bool engine_lives(uint64_t now_ns);
  void give_up(const char *why);

  Page *const page_;
  uint64_t first_unit_ = 0;
  int engine_ = -1;  // descriptor of the engine's process
  uint64_t looked_ns_ = 0;
  Backend *backend_ = nullptr;
  bool own_gate_ = false;
  uint32_t gate_seen_ = 2;  // neither open nor closed
  uint32_t entries_ = 0;
  std::thread thread_;
  std::atomic<bool> stop_{false};
  std::atomic<const char *> fault_{nullptr};
  std::atomic<bool> gpu_failed_{false};
};

}  // namespace calypte::worker
