#include "engine/ring_source.h"

#include <climits>
#include <cstring>

#include "engine/clock.h"
#include "engine/error.h"

namespace calypte {
namespace {

// Between two looks for a ring that is not there, or at whether a silent one was replaced. Also the longest that `stop`
// waits.
constexpr uint64_t kLookNs = 100'000'000;

}  // namespace

std::unique_ptr<RingSource> RingSource::open(const char *path) {
  if (path == nullptr || path[0] == 0 || strlen(path) >= PATH_MAX) {
    fail(CALYPTE_E_INVALID, "ring_input: the path must have 1..%d bytes", PATH_MAX - 1);
    return nullptr;
  }
  std::unique_ptr<RingSource> source(new RingSource(path));
  source->ring_.fd = -1;
  return source;
}

RingSource::~RingSource() {
  stop();
  calypte_ring_close(&ring_);
}

// The thread ends within kLookNs by itself; a wake ends it at once. No futex of the producer's is touched from here, as
// the thread may be about to unmap it.
void RingSource::interrupt() {
  stop_word_.store(1, std::memory_order_release);
  calypte_ring_futex_(reinterpret_cast<const uint32_t *>(&stop_word_), FUTEX_WAKE, INT_MAX, nullptr);
}

void RingSource::run() {
  while (!stopping()) {
    report();
    if (ring_.map == nullptr && !find()) {
      rest();
    } else if (calypte_ring_wait(&ring_, kLookNs) != 0) {
      take();
    } else if (calypte_ring_moved(&ring_, path_.c_str())) {
      calypte_ring_close(&ring_);
    }
  }
}

bool RingSource::find() {
  counted_ = 0;
  if (calypte_ring_open(&ring_, path_.c_str()) == 0) return true;
  note(CALYPTE_INPUT_NO_RING);
  return false;
}

void RingSource::rest() {
  const timespec rest{0, static_cast<long>(kLookNs)};
  calypte_ring_futex_(reinterpret_cast<const uint32_t *>(&stop_word_), FUTEX_WAIT, 0, &rest);
}

void RingSource::take() {
  if (latest()) calypte_ring_skip(&ring_);
  calypte_ring_record record;
  const void *payload = nullptr;
  const int there = calypte_ring_peek(&ring_, &record, &payload);
  // The newest is all that LATEST asks for: what it never looked at is not missing.
  if (const uint64_t lost = ring_.overruns - counted_; lost > 0 && !latest()) {
    note(CALYPTE_INPUT_MISSING, lost);
    drop(lost);
  }
  counted_ = ring_.overruns;
  if (there == 0) return;
  if (record.payload_bytes != input_bytes()) {
    calypte_ring_confirm(&ring_);
    note(CALYPTE_INPUT_WRONG_SIZE);
    return;
  }
  deliver(static_cast<const uint8_t *>(payload), record.sensor_ns, [this] {
    const bool whole = calypte_ring_confirm(&ring_) != 0;
    if (!whole) counted_ += 1;  // `deliver` counts it
    return whole;
  });
}

}  // namespace calypte
