#include "calypte_ring.h"

#include "feed.h"

#include <stdexcept>

#include "clock.h"

namespace eval {
namespace {

// As many as the engine keeps waiting, and some more.
constexpr uint32_t kSlots = 64;
// The thread sleeps until shortly before a request, so that it does not take a core from whom it feeds.
constexpr int64_t kHotNs = 300'000;

}  // namespace

struct Feeder::Ring {
  calypte_ring ring;
  std::string path;
};

Feeder::Feeder(const std::string &ring, std::vector<uint8_t> input)
    : ring_(std::make_shared<Ring>()), input_(std::move(input)) {
  calypte_ring_shape shape{};
  shape.slot_count = kSlots;
  shape.slot_bytes = input_.size();
  ring_->path = ring;
  if (calypte_ring_create(&ring_->ring, ring.c_str(), &shape) < 0)
    throw std::runtime_error("cannot make the ring " + ring);
}

void Feeder::run(int64_t begin_ns, const std::vector<int64_t> &times_ns) {
  uint64_t number = 0;
  for (const int64_t time : times_ns) {
    const int64_t at = begin_ns + time;
    if (at - kHotNs > now_ns()) sleep_until(at - kHotNs);
    spin_until(at);
    calypte_ring_record about{};
    about.number = number++;
    about.sensor_ns = static_cast<uint64_t>(at);
    about.payload_bytes = input_.size();
    if (calypte_ring_write(&ring_->ring, input_.data(), &about) < 0)
      throw std::runtime_error("cannot write the ring " + ring_->path);
  }
  calypte_ring_close(&ring_->ring);
}

}  // namespace eval
