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
  // What producer and consumer share; all zero at first.
  struct Control {
    alignas(64) std::atomic<uint64_t> head;  // next byte to write
    alignas(64) std::atomic<uint64_t> tail;  // next byte to release
    std::atomic<uint64_t> lost;
  };
  // A store in memory that outlives it, such as a page between two processes. capacity_bytes: a multiple of 8.
  struct Shared {
    Control *control = nullptr;
    uint8_t *bytes = nullptr;
    uint64_t capacity_bytes = 0;
  };

  explicit ResultStore(uint64_t capacity_bytes);
  // A consumer that comes anew begins with the oldest record that was not released.
  explicit ResultStore(const Shared &shared);

  // Producer. `payload` may be null when header.payload_bytes is 0. False: no room, counted as lost.
  bool put(calypte_result header, const uint8_t *payload);
  // Producer. True if `payload_bytes` more leave a quarter of the store to critical results.
  bool room_for_background(uint64_t payload_bytes) const;
  // Before the first: what comes begins with this number.
  void count_from(uint64_t number) { first_number_ = number; }
  // Consumer. Copies whole records, each once; bytes copied, 0: none, or CALYPTE_E_BUFFER.
  int32_t take(uint8_t *data, uint32_t capacity);
  // Consumer. Frees the room of all records up to `position` of one that was taken; CALYPTE_E_INVALID beyond that.
  int32_t release(uint64_t position);
  // Consumer. The next take begins with the oldest record that was not released.
  void retake() { taken_ = control_->tail.load(std::memory_order_relaxed); }

  uint64_t lost() const { return control_->lost.load(std::memory_order_relaxed); }

 private:
  void copy_in(uint64_t at, const void *data, uint64_t size_bytes);
  void copy_out(uint64_t at, void *data, uint64_t size_bytes) const;

  const uint64_t capacity_;
  std::unique_ptr<Control> own_control_;
  std::unique_ptr<uint8_t[]> own_bytes_;
  Control *const control_;
  uint8_t *const bytes_;
  uint64_t first_number_ = 0;
  uint64_t taken_ = 0;  // next byte to take; consumer only
};

}  // namespace calypte
