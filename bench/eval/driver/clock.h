// Monotonic time of this machine, as the harness and Calypte's engine use it.
#pragma once

#include <time.h>

#include <cstdint>

namespace eval {

inline int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

inline void sleep_until(int64_t at_ns) {
  timespec at;
  at.tv_sec = at_ns / 1'000'000'000ll;
  at.tv_nsec = at_ns % 1'000'000'000ll;
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) != 0) {
  }
}

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Hot: a thread that slept needs some 10 us more to launch.
inline void spin_until(int64_t at_ns) {
  while (now_ns() < at_ns) relax();
}

}  // namespace eval
