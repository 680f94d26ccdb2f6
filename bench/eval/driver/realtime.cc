#include "realtime.h"

#include <sched.h>
#include <sys/prctl.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace eval {
namespace {

// As in ffi/native/engine/dispatcher.cc.
constexpr int kPriority = 50;

}  // namespace

std::string run_as_critical() {
  prctl(PR_SET_TIMERSLACK, 1);
  const sched_param parameters{kPriority};
  std::string said = sched_setscheduler(0, SCHED_FIFO, &parameters) == 0
                         ? "SCHED_FIFO"
                         : std::string("no real-time priority: ") + strerror(errno);
  const char *core = getenv("CALYPTE_CRITICAL_CORE");
  if (core == nullptr || *core == 0) return said;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(atoi(core)), &one);
  return said + (sched_setaffinity(0, sizeof one, &one) == 0 ? ", on core " : ", not on core ") + core;
}

}  // namespace eval
