#include "engine/outputs.h"

#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "engine/error.h"

namespace calypte {
namespace {

constexpr uint64_t kShortestExpiryNs = 10'000'000;
constexpr uint64_t kLongestExpiryNs = 3'600'000'000'000;
constexpr uint64_t kLongestRestNs = 1'000'000'000;

}  // namespace

Outputs::~Outputs() { stop(); }

int32_t Outputs::open(const char *path, uint32_t slots, uint64_t slot_bytes, uint64_t expiry_ns) {
  if (path == nullptr || path[0] == 0) return fail(CALYPTE_E_INVALID, "ring_output: the path is empty");
  if (slots < 2 || slots > CALYPTE_RING_MAX_SLOTS)
    return fail(CALYPTE_E_INVALID, "ring_output '%s': slots must be 2..%d, got %u", path, CALYPTE_RING_MAX_SLOTS,
                slots);
  if (slot_bytes > CALYPTE_RING_MAX_SLOT_BYTES)
    return fail(CALYPTE_E_INVALID, "ring_output '%s': slot_bytes must be at most %u", path,
                CALYPTE_RING_MAX_SLOT_BYTES);
  if (expiry_ns < kShortestExpiryNs || expiry_ns > kLongestExpiryNs)
    return fail(CALYPTE_E_INVALID, "ring_output '%s': expiry_ns must be 10 ms to an hour", path);
  calypte_ring_shape shape{};
  shape.slot_count = slots;
  shape.slot_bytes = slot_bytes;
  shape.expiry_ns = expiry_ns;
  auto output = std::make_unique<Output>();
  output->path = path;
  switch (calypte_ring_create(&output->ring, path, &shape)) {
    case 0:
      break;
    case CALYPTE_RING_E_BUSY:
      return fail(CALYPTE_E_BUSY, "ring_output '%s': another process writes it", path);
    case CALYPTE_RING_E_FORMAT:
      return fail(CALYPTE_E_INVALID, "ring_output '%s': there is a file that is not a ring; name another place", path);
    case CALYPTE_RING_E_INVALID:
      return fail(CALYPTE_E_INVALID, "ring_output '%s': the path is too long", path);
    default:
      return fail(errno == ENOSPC ? CALYPTE_E_NO_MEMORY : CALYPTE_E_INVALID, "ring_output '%s': %s", path,
                  strerror(errno));
  }
  outputs_.push_back(std::move(output));
  return static_cast<int32_t>(outputs_.size() - 1);
}

int32_t Outputs::give(size_t index, const Work &work) {
  Output &output = *outputs_[index];
  if (output.given)
    return fail(CALYPTE_E_INVALID, "add '%s': output channel %u has a work already", work.head.name,
                work.head.output_channel);
  if (work.head.output_bytes > output.ring.shape.slot_bytes)
    return fail(CALYPTE_E_INVALID, "add '%s': an output of %llu bytes does not fit into slots of %llu", work.head.name,
                static_cast<unsigned long long>(work.head.output_bytes),
                static_cast<unsigned long long>(output.ring.shape.slot_bytes));
  output.given = true;
  output.channel = work.head.output_channel;
  return 0;
}

void Outputs::start(const std::atomic<uint64_t> &alive_ns) {
  started_ = true;
  if (outputs_.empty()) return;
  beat(alive_ns.load(std::memory_order_acquire));
  thread_ = std::thread([this, &alive_ns] {
    prctl(PR_SET_NAME, "calypte-beat");
    while (stop_.load(std::memory_order_acquire) == 0) {
      const uint64_t rest_ns = beat(alive_ns.load(std::memory_order_acquire));
      const timespec rest{static_cast<time_t>(rest_ns / 1'000'000'000), static_cast<long>(rest_ns % 1'000'000'000)};
      calypte_ring_futex_(reinterpret_cast<const uint32_t *>(&stop_), FUTEX_WAIT, 0, &rest);
    }
  });
}

void Outputs::stop() {
  stop_.store(1, std::memory_order_release);
  if (thread_.joinable()) {
    calypte_ring_futex_(reinterpret_cast<const uint32_t *>(&stop_), FUTEX_WAKE, INT_MAX, nullptr);
    thread_.join();
  }
  for (const auto &output : outputs_) {
    // A run that never began leaves nothing behind.
    if (!started_ && output->ring.created != 0 && calypte_ring_moved(&output->ring, output->path.c_str()) == 0)
      unlink(output->path.c_str());
    calypte_ring_close(&output->ring);
  }
  outputs_.clear();
}

uint64_t Outputs::beat(uint64_t alive_ns) {
  uint64_t rest_ns = kLongestRestNs;
  for (const auto &output : outputs_) {
    calypte_ring_heartbeat(&output->ring, alive_ns);
    rest_ns = std::min(rest_ns, output->ring.shape.expiry_ns / 4);
  }
  return rest_ns;
}

void Outputs::publish(const Work &work, const calypte_result &result, const uint8_t *payload) {
  if (work.head.output_channel == 0 || (result.flags & CALYPTE_RESULT_COMPLETE) == 0) return;
  for (const auto &output : outputs_) {
    if (output->channel != work.head.output_channel) continue;
    calypte_ring_record record{};
    record.number = result.number;
    record.sensor_ns = result.sensor_ns;
    record.done_ns = result.done_ns;
    record.flags = ((result.flags & CALYPTE_RESULT_LATE) != 0 ? CALYPTE_RING_LATE : 0u) |
                   ((result.flags & CALYPTE_RESULT_SIMULATED) != 0 ? CALYPTE_RING_SIMULATED : 0u);
    record.payload_bytes = payload != nullptr ? work.head.output_bytes : 0;
    calypte_ring_write(&output->ring, payload, &record);
    return;
  }
}

}  // namespace calypte
