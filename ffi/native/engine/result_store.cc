#include "engine/result_store.h"

#include <cstring>

#include "engine/error.h"

namespace calypte {
namespace {
constexpr uint64_t padded(uint64_t bytes) { return (bytes + 7) & ~uint64_t{7}; }
}  // namespace

ResultStore::ResultStore(uint64_t capacity_bytes)
    : capacity_(padded(capacity_bytes)),
      own_control_(new Control{}),
      own_bytes_(new uint8_t[padded(capacity_bytes)]),
      control_(own_control_.get()),
      bytes_(own_bytes_.get()) {}

ResultStore::ResultStore(const Shared &shared)
    : capacity_(shared.capacity_bytes),
      control_(shared.control),
      bytes_(shared.bytes),
      taken_(shared.control->tail.load(std::memory_order_acquire)) {}

void ResultStore::copy_in(uint64_t at, const void *data, uint64_t size_bytes) {
  const uint64_t offset = at % capacity_;
  const uint64_t first = size_bytes < capacity_ - offset ? size_bytes : capacity_ - offset;
  memcpy(bytes_ + offset, data, first);
  memcpy(bytes_, static_cast<const uint8_t *>(data) + first, size_bytes - first);
}

void ResultStore::copy_out(uint64_t at, void *data, uint64_t size_bytes) const {
  const uint64_t offset = at % capacity_;
  const uint64_t first = size_bytes < capacity_ - offset ? size_bytes : capacity_ - offset;
  memcpy(data, bytes_ + offset, first);
  memcpy(static_cast<uint8_t *>(data) + first, bytes_, size_bytes - first);
}

bool ResultStore::put(calypte_result header, const uint8_t *payload) {
  const uint64_t size = sizeof header + padded(header.payload_bytes);
  const uint64_t head = control_->head.load(std::memory_order_relaxed);
  if (head + size - control_->tail.load(std::memory_order_acquire) > capacity_) {
    control_->lost.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  header.size_bytes = static_cast<uint32_t>(size);
  header.position = head + size;
  header.number += first_number_;
  copy_in(head, &header, sizeof header);
  if (header.payload_bytes > 0) copy_in(head + sizeof header, payload, header.payload_bytes);
  control_->head.store(head + size, std::memory_order_release);
  return true;
}

bool ResultStore::room_for_background(uint64_t payload_bytes) const {
  const uint64_t used = control_->head.load(std::memory_order_relaxed) - control_->tail.load(std::memory_order_relaxed);
  return used + sizeof(calypte_result) + padded(payload_bytes) <= capacity_ - capacity_ / 4;
}

int32_t ResultStore::take(uint8_t *data, uint32_t capacity) {
  const uint64_t head = control_->head.load(std::memory_order_acquire);
  uint32_t used = 0;
  while (taken_ < head) {
    calypte_result header;
    copy_out(taken_, &header, sizeof header);
    if (header.size_bytes > capacity - used) {
      if (used == 0)
        return fail(CALYPTE_E_BUFFER, "take_results: the next result takes %u bytes, the buffer holds %u",
                    header.size_bytes, capacity);
      break;
    }
    copy_out(taken_, data + used, header.size_bytes);
    used += header.size_bytes;
    taken_ += header.size_bytes;
  }
  return static_cast<int32_t>(used);
}

int32_t ResultStore::release(uint64_t position) {
  if (position > taken_)
    return fail(CALYPTE_E_INVALID, "release_results: position %llu lies beyond what was taken, %llu",
                static_cast<unsigned long long>(position), static_cast<unsigned long long>(taken_));
  if (position > control_->tail.load(std::memory_order_relaxed))
    control_->tail.store(position, std::memory_order_release);
  return 0;
}

}  // namespace calypte
