// How do requests come in without the caller? Through a source: one thread that waits for a critical task's input, puts
// it into the backend's slot and tells the dispatcher, through a ring of its own, when it came.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "backend/backend.h"
#include "engine/ring.h"
#include "engine/work.h"

namespace calypte {

// From a source's thread to the dispatcher: an arrival or a refusal, or `count` inputs that were not as they should be.
struct SourceItem {
  core::Event event;
  uint32_t fault = 0;  // CALYPTE_INPUT_*; 0: an event
  uint64_t count = 0;
};

class Source {
 public:
  // What the engine lends to a source while it runs.
  struct Host {
    Backend *backend = nullptr;
    std::function<void()> wake;  // the dispatcher
    bool realtime = true;        // try for a real-time priority
  };

  explicit Source(uint32_t kind) : kind_(kind) {}
  virtual ~Source() = default;
  Source(const Source &) = delete;
  Source &operator=(const Source &) = delete;

  // CALYPTE_SOURCE_*.
  uint32_t kind() const { return kind_; }
  bool taken() const { return taken_; }
  // Before `start`, once: whose input comes here.
  void serve(const Work &work);
  void start(Host host);
  // Ends the thread. Derived classes call it in their destructors, as the thread uses them.
  void stop();

  // Dispatcher.
  virtual bool poll(SourceItem &out) { return items_.pop(out); }
  uint32_t task() const { return task_; }

 protected:
  // At `start`, in the caller's thread: what is there already is of the past.
  virtual void begin() = 0;
  // What the thread does until `stopping`.
  virtual void run() = 0;
  // Ends a wait of `run`; any thread.
  virtual void interrupt() = 0;

  bool stopping() const { return stop_.load(std::memory_order_acquire); }
  // Puts the input into a slot and posts the arrival. `whole` is asked behind the copy: false takes the request back.
  void deliver(const uint8_t *payload, uint64_t sensor_ns, const std::function<bool()> &whole);
  // Posts as many dropped requests as the ring takes.
  void drop(uint64_t count);
  // Counts; reported at once, but not twice within a second.
  void note(uint32_t fault, uint64_t count = 1);
  void wake_dispatcher() { host_.wake(); }
  // Reports what was noted and is due. Returns whether more waits for its second to pass.
  bool report();

  uint64_t input_bytes() const { return input_bytes_; }
  bool latest() const { return latest_; }

 private:
  struct Noted {
    uint64_t count = 0;
    uint64_t reported_ns = 0;
  };

  bool post(core::EventKind kind, uint64_t arrival_ns, uint64_t sensor_ns);

  const uint32_t kind_;
  bool taken_ = false;
  uint32_t task_ = 0;
  uint64_t input_bytes_ = 0;
  bool latest_ = true;
  Host host_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
  Ring<SourceItem, 64> items_;
  uint64_t number_ = 0;  // of the next request, as the scheduler counts them
  std::array<Noted, CALYPTE_INPUT_NO_RING + 1> noted_{};
};

}  // namespace calypte
