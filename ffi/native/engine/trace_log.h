// Where do records of the trace wait for readers? A ring that is overwritten: one writer, which never waits, and any
// number of readers, in this process or another.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>

#include "calypte.h"

namespace calypte {

class TraceLog {
 public:
  static constexpr uint64_t kRecords = CALYPTE_TRACE_RECORDS;
  static constexpr uint32_t kWords = sizeof(calypte_trace) / sizeof(uint64_t);
  static_assert(sizeof(calypte_trace) == kWords * sizeof(uint64_t));

  // All zero at first.
  struct Memory {
    alignas(64) std::atomic<uint64_t> head;  // records written
    std::atomic<uint64_t> words[kRecords][kWords];
  };

  TraceLog() : own_(std::make_unique<Memory>()), memory_(own_.get()) {}
  // In memory that outlives it.
  explicit TraceLog(Memory *memory) : memory_(memory) {}

  void add(const calypte_trace &record) {
    uint64_t words[kWords];
    memcpy(words, &record, sizeof record);
    const uint64_t head = memory_->head.load(std::memory_order_relaxed);
    // Whoever sees one of these words sees a head that says the record before it in this place is gone.
    std::atomic_thread_fence(std::memory_order_release);
    for (uint32_t i = 0; i < kWords; ++i) memory_->words[head % kRecords][i].store(words[i], std::memory_order_relaxed);
    memory_->head.store(head + 1, std::memory_order_release);
  }

  // See calypte_take_trace.
  static uint32_t read(const Memory &memory, uint64_t from, calypte_trace *out, uint32_t capacity, uint64_t &next,
                       uint64_t &lost) {
    const uint64_t head = memory.head.load(std::memory_order_acquire);
    // The place of the oldest may be written at this moment.
    uint64_t at = oldest(head);
    lost = from != 0 && from < at ? at - from : 0;
    if (from > at) at = from < head ? from : head;
    uint32_t count = 0;
    for (; at < head && count < capacity; ++at) {
      uint64_t words[kWords];
      for (uint32_t i = 0; i < kWords; ++i) words[i] = memory.words[at % kRecords][i].load(std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (at < oldest(memory.head.load(std::memory_order_relaxed))) {
        lost += 1;
        continue;
      }
      memcpy(&out[count++], words, sizeof words);
    }
    next = at;
    return count;
  }

  const Memory &memory() const { return *memory_; }

 private:
  static uint64_t oldest(uint64_t head) { return head < kRecords ? 0 : head - kRecords + 1; }

  std::unique_ptr<Memory> own_;
  Memory *memory_;
};

}  // namespace calypte
