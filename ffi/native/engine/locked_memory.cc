#include "engine/locked_memory.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>

namespace calypte {
namespace {

// The deepest that dispatcher and scheduler go is a few KiB; a command with a plan is the largest thing on it.
constexpr size_t kStackBytes = 256 * 1024;
// The lock is the process's, and several engines may want it.
std::mutex mutex;
int holders = 0;
constexpr char kRemedy[] = "raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity in a systemd unit), or grant CAP_IPC_LOCK";

// CAP_IPC_LOCK in the effective set: then the limit does not count.
bool may_lock_all() {
  FILE *status = fopen("/proc/self/status", "re");
  if (status == nullptr) return false;
  unsigned long long bits = 0;
  for (char line[256]; fgets(line, sizeof line, status) != nullptr;) {
    if (sscanf(line, "CapEff: %llx", &bits) == 1) break;
  }
  fclose(status);
  constexpr unsigned kIpcLock = 14;
  return (bits >> kIpcLock & 1) != 0;
}

}  // namespace

LockedMemory lock_memory() {
  const std::lock_guard lock(mutex);
  rlimit limit{};
  const bool known = getrlimit(RLIMIT_MEMLOCK, &limit) == 0;
  if (!may_lock_all() && (!known || limit.rlim_cur != RLIM_INFINITY)) {
    // mlockall may succeed now and make a later allocation fail, which is worse than a page fault.
    return {false, "RLIMIT_MEMLOCK is " + std::to_string(limit.rlim_cur >> 10) + " KiB; " + kRemedy};
  }
  if (mlockall(MCL_CURRENT | MCL_FUTURE) == 0) {
    holders += 1;
    return {true, "mlockall: all pages of this process stay in memory"};
  }
  return {false, std::string("mlockall: ") + strerror(errno) + "; " + kRemedy};
}

void unlock_memory() {
  const std::lock_guard lock(mutex);
  holders -= 1;
  if (holders == 0) munlockall();
}

__attribute__((noinline)) void touch_stack() {
  volatile uint8_t stack[kStackBytes];
  const long page = sysconf(_SC_PAGESIZE);
  for (size_t at = 0; at < sizeof stack; at += static_cast<size_t>(page > 0 ? page : 4096)) stack[at] = 0;
}

}  // namespace calypte
