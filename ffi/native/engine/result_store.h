// Where do results wait until the caller takes them? A byte ring with one producer and one consumer.
//
// Background stops before the store is full (`room_for_background`), so that it loses nothing; a critical
// result that finds no room is lost and counted, because critical work never waits for a reader.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "calypte.h"

namespace calypte {

class ResultStore {
 public:
  explicit ResultStore(uint64_t capacity_bytes);

  // Producer. `payload` may be null when header.payload_bytes is 0. False: no room, counted as lost.
  bool put(calypte_result header, const uint8_t *payload);
  // Producer. True if `payload_bytes` more leave a quarter of the store to critical results.
  bool room_for_background(uint64_t payload_bytes) const;
  // Consumer. Copies whole records, each once; bytes copied, 0: none, or CALYPTE_E_BUFFER.
  int32_t take(uint8_t *data, uint32_t capacity);
  // Consumer. Frees the room of all records up to `position` of one that was taken; CALYPTE_E_INVALID beyond that.
  int32_t release(uint64_t position);
  // Consumer. The next take begins with the oldest record that was not released.
  void retake() { taken_ = tail_.load(std::memory_order_relaxed); }

  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  void copy_in(uint64_t at, const void *data, uint64_t size_bytes);
  void copy_out(uint64_t at, void *data, uint64_t size_bytes) const;

  const uint64_t capacity_;
  std::unique_ptr<uint8_t[]> bytes_;
  alignas(64) std::atomic<uint64_t> head_{0};  // next byte to write
  alignas(64) std::atomic<uint64_t> tail_{0};  // next byte to release
  uint64_t taken_ = 0;                         // next byte to take; consumer only
  std::atomic<uint64_t> lost_{0};
};

}  // namespace calypte
