// How do requests come in through shared memory? A producer writes a ring (calypte_ring.h); one record is one request.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "engine/source.h"
#include "calypte_ring.h"

namespace calypte {

class RingSource final : public Source {
 public:
  // The ring need not be there yet. Null with the error set.
  static std::unique_ptr<RingSource> open(const char *path);
  ~RingSource() override;

 private:
  explicit RingSource(std::string path) : Source(CALYPTE_SOURCE_RING), path_(std::move(path)) {}
  void begin() override { find(); }
  void run() override;
  void interrupt() override;
  bool find();
  void rest();
  void take();

  const std::string path_;
  calypte_ring ring_{};
  uint64_t counted_ = 0;                // of its overruns
  std::atomic<uint32_t> stop_word_{0};  // futex: the thread sleeps on it while there is no ring
};

}  // namespace calypte
