// What does the scheduler remember of each task and job? Private to core/.
#pragma once

#include <algorithm>

#include "core/scheduler.h"

namespace calypte::core {

inline constexpr uint32_t kQueueRoom = 17;  // the deepest queue, and one more while the oldest is dropped

struct Scheduler::Task {
  std::array<Request, kQueueRoom> queue{};
  uint32_t head = 0;
  uint32_t waiting = 0;
  uint64_t next_number = 0;
  uint64_t next_arrival_ns = kNever;  // of a periodic task
  Request current;
  calypte_task_stats stats{};

  Request &front() { return queue[head]; }
  void pop() {
    head = (head + 1) % kQueueRoom;
    waiting -= 1;
  }
  void push(const Request &request) {
    queue[(head + waiting) % kQueueRoom] = request;
    waiting += 1;
  }
};

struct Scheduler::Job {
  bool planned = false;
  bool refusal_reported = false;
  uint32_t weight = 1;
  uint32_t outstanding = 0;
  uint32_t segment = 0;    // the one that step_word lies in
  uint64_t step_word = 0;  // as last read
  uint64_t staged = 0;     // units with input
  uint64_t granted = 0;
  uint64_t unit_limit = kNever;  // of the plan in force
  uint64_t pass = 0;             // GPU time divided by weight, scaled
  uint64_t unit_ns = 0;          // estimate
  uint64_t unit_spent_ns = 0;    // of the unit under way
  // An outstanding entry: what was charged to `pass` for it, and the units that were granted when it was enqueued.
  struct Charge {
    uint64_t amount = 0;
    uint64_t granted = 0;
  };
  std::array<Charge, CALYPTE_MAX_ENTRIES_AHEAD> charges{};  // a ring
  uint32_t oldest_charge = 0;
  calypte_job_stats stats{};

  void charge(uint64_t amount) {
    charges[(oldest_charge + outstanding) % charges.size()] = {amount, granted};
    pass += amount;
    outstanding += 1;
  }
  // Of the oldest entry: an estimate was charged ahead, the measured time takes its place.
  Charge settle(uint64_t amount) {
    const Charge charge = charges[oldest_charge];
    oldest_charge = (oldest_charge + 1) % charges.size();
    outstanding -= 1;
    pass = pass + amount > charge.amount ? pass + amount - charge.amount : 0;
    return charge;
  }

  uint64_t completed() const { return unit_of(step_word); }
  uint64_t remaining() const { return granted - std::min(granted, completed()); }
};

}  // namespace calypte::core
