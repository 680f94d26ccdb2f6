// How do two threads hand small values to each other without a lock? A ring with one producer and one consumer.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

namespace calypte {

template <class Item, size_t kCapacity>
class Ring {
  static_assert((kCapacity & (kCapacity - 1)) == 0, "a power of two, so that indices wrap by masking");

 public:
  Ring() : items_(new Item[kCapacity]()) {}

  // Producer. False: full.
  bool push(const Item &item) {
    const size_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_.load(std::memory_order_acquire) == kCapacity) return false;
    items_[head & (kCapacity - 1)] = item;
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

  // Producer.
  bool full() const {
    return head_.load(std::memory_order_relaxed) - tail_.load(std::memory_order_acquire) == kCapacity;
  }

  // Consumer. False: empty.
  bool pop(Item &out) {
    const size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail == head_.load(std::memory_order_acquire)) return false;
    out = items_[tail & (kCapacity - 1)];
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

 private:
  std::unique_ptr<Item[]> items_;
  alignas(64) std::atomic<size_t> head_{0};
  alignas(64) std::atomic<size_t> tail_{0};
};

}  // namespace calypte
