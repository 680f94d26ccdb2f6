// How do other processes get outputs, without the caller? Each work may have a ring (calypte_ring.h) that its outputs
// are written into; a heartbeat in it tells that the dispatcher goes on.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "calypte_ring.h"

namespace calypte {

class Outputs final : public OutputSink {
 public:
  Outputs() = default;
  ~Outputs() override;
  Outputs(const Outputs &) = delete;
  Outputs &operator=(const Outputs &) = delete;

  // Makes a ring or takes one over. Its index, or a negative code.
  int32_t open(const char *path, uint32_t slots, uint64_t slot_bytes, uint64_t expiry_ns);
  // Gives ring `index` to a work, as its output_channel then names it. A negative code: it has one, or is too small.
  int32_t give(size_t index, const Work &work);

  // Starts the heartbeat: `alive_ns` is when the dispatcher last went round, or 0 if it has stopped for good.
  void start(const std::atomic<uint64_t> &alive_ns);
  // Nothing is published after this.
  void stop();

  void publish(const Work &work, const calypte_result &result, const uint8_t *payload) override;
  // What the heartbeat's thread does each time; returns how long it may rest. For tests also without the thread.
  uint64_t beat(uint64_t alive_ns);

 private:
  struct Output {
    std::string path;
    calypte_ring ring{};
    bool given = false;
    uint32_t channel = 0;
  };

  std::vector<std::unique_ptr<Output>> outputs_;
  std::thread thread_;
  std::atomic<uint32_t> stop_{0};  // futex
  bool started_ = false;
};

}  // namespace calypte
