// What does the scheduler remember of each task and job? Private to core/.
#pragma once

#include <algorithm>

#include "core/anticipation.h"
#include "core/rhythm.h"
#include "core/scheduler.h"

namespace calypte::core {

inline constexpr uint32_t kQueueRoom = 17;  // the deepest queue, and one more while the oldest is dropped
// GPU time divided by weight, scaled so that the largest weight, a million, still leaves whole numbers and that 2^64
// lasts for half a year of a job with weight 1.
inline constexpr uint64_t kPassScale = 1024;
// Entries that are queued where nothing waits in the stream for the gate to open.
inline constexpr uint32_t kEntriesAheadUnparked = 2;

// What a task's gate word holds once all that was enqueued in its stream has been done.
enum class Gate : uint8_t {
  open,
  ahead,    // closed, as a request is expected
  waiting,  // closed, as a request waits for another task's to end
};

// A request of an external task that has begun: `mark` is what its process will end it by.
struct Outside {
  Request request;
  uint64_t mark = 0;
};
inline constexpr uint32_t kMostOutside = 8;  // at work at once; whoever begins more has given up the oldest

struct Scheduler::Task {
  std::array<Request, kQueueRoom> queue{};
  uint32_t head = 0;
  uint32_t waiting = 0;
  uint64_t next_number = 0;
  uint64_t next_arrival_ns = kNever;  // of a periodic task
  Request current;
  Rhythm rhythm;  // of the others
  Anticipation anticipation;
  Gate gate = Gate::open;
  uint64_t close_at_ns = kNever;                // when to close it ahead of the next request
  uint64_t reopen_at_ns = kNever;               // when to give that up
  uint64_t ahead_ns = 0;                        // when it was closed ahead
  std::array<Outside, kMostOutside> outside{};  // external: what its process is at work on, oldest first
  uint32_t outside_count = 0;
  uint64_t expect_ns = kNever;  // external: when its process said it will begin
  uint64_t deferred_ns = 0;     // since when the oldest request lets background run on; 0: it does not
  calypte_task_stats stats{};

  Request &front() { return queue[head]; }
  const Request &front() const { return queue[head]; }
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
  bool fresh = true;    // nothing of the segment at hand has been done
  bool present = true;  // isolated: a process is there for it
  uint32_t weight = 1;
  uint32_t outstanding = 0;
  uint32_t whole_ahead = 0;    // `whole` segments that are queued and not done
  uint32_t whole_entries = 0;  // ... in so many launches
  uint32_t segment = 0;        // the one that step_word lies in
  uint64_t step_word = 0;      // as last read
  uint64_t staged = 0;         // units with input
  uint64_t granted = 0;
  uint64_t unit_limit = kNever;  // of the plan in force
  uint64_t pass = 0;             // GPU time divided by weight, scaled
  uint64_t unit_ns = 0;          // estimate
  uint64_t unit_spent_ns = 0;    // of the unit under way
  // As last sampled, and since when nothing has moved.
  uint64_t sampled_word = 0;
  uint64_t sampled_blocks = 0;
  uint64_t sampled_abandoned = 0;
  uint64_t stuck_since_ns = 0;
  // An outstanding entry: what was charged to `pass` for it, the units that were granted when it was enqueued, and the
  // `whole` segments that it consists of (0: it is preemptible).
  struct Entry {
    uint64_t charge = 0;
    uint64_t granted = 0;
    uint32_t segments = 0;
    uint64_t safe_ns = 0;  // what a `whole` one hardly ever exceeds
    bool needs_window = false;
  };
  std::array<Entry, CALYPTE_MAX_ENTRIES_AHEAD> entries{};  // a ring
  uint32_t oldest = 0;
  calypte_job_stats stats{};

  void queue(uint64_t charge, uint32_t segments, uint64_t safe_ns, bool needs_window) {
    entries[(oldest + outstanding) % entries.size()] = {charge, granted, segments, safe_ns, needs_window};
    pass += charge;
    outstanding += 1;
    whole_ahead += segments;
    whole_entries += segments > 0 ? 1 : 0;
  }
  // The oldest entry: an estimate was charged ahead, the measured time takes its place.
  Entry settle(uint64_t charge) {
    const Entry entry = entries[oldest];
    oldest = (oldest + 1) % entries.size();
    outstanding -= 1;
    whole_ahead -= entry.segments;
    whole_entries -= entry.segments > 0 ? 1 : 0;
    pass = pass + charge > entry.charge ? pass + charge - entry.charge : 0;
    return entry;
  }

  uint64_t completed() const { return unit_of(step_word); }
  uint64_t remaining() const { return granted - std::min(granted, completed()); }
};

}  // namespace calypte::core
