// How fast is the simulated device, and what goes wrong on it? The defaults of calypte_sim_profile, and what the
// simulator draws from a profile and from faults. Each figure carries its measurement (H200, docs/PREEMPTION.md).
#pragma once

#include <cstdint>

#include "backend/sim/rng.h"
#include "calypte.h"

namespace calypte::sim {

constexpr calypte_sim_profile default_profile() {
  calypte_sim_profile profile{};
  profile.abi_version = CALYPTE_ABI_VERSION;
  profile.size_bytes = sizeof(calypte_sim_profile);
  profile.launch_ns = 4'000;  // a launch costs the host 3.6 us, and reaches an idle GPU soon after
  profile.launch_jitter_ns = 1'500;
  profile.gate_write_ns = 2'000;  // a stream memory operation costs the host 0.9 us
  profile.loop_drain_ns = 5'000;  // about the period that the checkpoint compiler aims at
  profile.resume_ns = 4'600;      // background blocks run again 4.6 us (p99 5.1) after the gate has opened
  profile.resume_jitter_ns = 500;
  profile.follow_ns = 1'000;
  profile.skip_entry_ns = 6'000;
  profile.skip_step_ns = 1'000;
  profile.copy_base_ns = 2'000;
  profile.copy_bytes_per_us = 10'000;
  profile.critical_deviation_ppm = 12'700;  // p99 of the factor: exp(0.0127 * 2.33) = 1.03
  profile.step_deviation_ppm = 5'000;
  profile.clock_permille = 1'000;
  return profile;
}

constexpr double deviation(uint32_t ppm) { return ppm / 1e6; }

// Profile and faults together: what the virtual GPU and the backend ask.
struct Conditions {
  calypte_sim_profile profile = default_profile();
  calypte_sim_faults faults{};

  uint64_t copy_ns(uint64_t bytes) const {
    return profile.copy_base_ns + bytes / profile.copy_bytes_per_us * 1'000 +
           bytes % profile.copy_bytes_per_us * 1'000 / profile.copy_bytes_per_us;
  }

  // How long kernels that take `ns` at full speed take from `now_ns` on. What begins ahead of the throttling and ends
  // in it, or the other way round, is slowed down in its part.
  uint64_t stretched(uint64_t ns, uint64_t now_ns) const {
    if (profile.clock_permille != 1'000) ns = times(ns, 1'000, profile.clock_permille);
    const uint64_t begin_ns = faults.throttle_begin_ns, end_ns = faults.throttle_end_ns;
    if (end_ns <= begin_ns || now_ns >= end_ns || now_ns + ns <= begin_ns) return ns;
    const uint64_t ahead_ns = now_ns < begin_ns ? begin_ns - now_ns : 0;
    const uint64_t slow_ns = end_ns - (now_ns + ahead_ns);
    const uint64_t all_slow_ns = times(ns - ahead_ns, 1'000, faults.throttle_permille);
    if (all_slow_ns <= slow_ns) return ahead_ns + all_slow_ns;
    const uint64_t done_ns = times(slow_ns, faults.throttle_permille, 1'000);
    return ahead_ns + slow_ns + (ns - ahead_ns - (done_ns < ns - ahead_ns ? done_ns : ns - ahead_ns));
  }

  // Of a step or a critical execution: now and then it takes much longer.
  uint64_t slowed(uint64_t ns, Rng &rng) const {
    if (faults.slow_ppm == 0 || !happens(faults.slow_ppm, rng)) return ns;
    return times(ns, faults.slow_permille, 1'000);
  }

  // How late the dispatcher wakes: straight lines between the quantiles, and up to twice the 99th beyond it.
  uint64_t lateness_ns(Rng &rng) const {
    uint64_t late_ns = 0;
    if (profile.timer_p99_ns > 0) {
      const double p50 = static_cast<double>(profile.timer_p50_ns), p99 = static_cast<double>(profile.timer_p99_ns);
      const double u = rng.unit();
      const double ns = u < 0.5    ? p50 * u / 0.5
                        : u < 0.99 ? p50 + (p99 - p50) * (u - 0.5) / 0.49
                                   : p99 * (1 + (u - 0.99) / 0.01);
      late_ns = static_cast<uint64_t>(ns);
    }
    if (faults.late_timer_ppm > 0 && happens(faults.late_timer_ppm, rng)) late_ns += rng.up_to(faults.late_timer_ns);
    return late_ns;
  }

  static bool happens(uint32_t ppm, Rng &rng) { return rng.up_to(999'999) < ppm; }

 private:
  static constexpr uint64_t times(uint64_t a, uint64_t b, uint64_t c) {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b / c);
  }
};

}  // namespace calypte::sim
