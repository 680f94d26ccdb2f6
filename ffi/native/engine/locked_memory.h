// Does anything on the critical path wait for a page? Locks the process's memory, if it asked for that, and touches
// what the dispatcher will need before it needs it.
#pragma once

#include <string>

namespace calypte {

// What became of a wish to lock memory.
struct LockedMemory {
  bool on = false;
  std::string reason;
};

// Locks all pages that the process has and will have, where RLIMIT_MEMLOCK allows it. A limit that would be reached
// later, while the process runs, is refused now: then allocations would fail. What is on is undone by as many calls of
// unlock_memory. Any thread.
LockedMemory lock_memory();
void unlock_memory();

// For the calling thread: has its stack in memory, as far down as it may ever go.
void touch_stack();

}  // namespace calypte
