// What the environment says about this driver; see docs/TESTING.md. Read once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cuda_on_cpu {

struct Settings {
  uint64_t memory_bytes = uint64_t{4096} << 20;  // CUDA_ON_CPU_MEMORY_MIB
  int sms = 8;                                   // CUDA_ON_CPU_SMS
  int driver_version = 13000;                    // CUDA_ON_CPU_DRIVER_VERSION, as cuDriverGetVersion gives it
  int compute_capability = 87;                   // CUDA_ON_CPU_COMPUTE_CAPABILITY, 87 for 8.7
  bool integrated = false;                       // CUDA_ON_CPU_INTEGRATED=1
  std::vector<std::string> without;  // CUDA_ON_CPU_WITHOUT: symbols, and the features ipc, memops, priorities, green
  std::string log;                   // CUDA_ON_CPU_LOG: a line a call
  std::string wrong;                 // not empty: what of the environment is no such value
};

const Settings &settings();

// Is this feature or symbol left out?
bool left_out(std::string_view name);

// Newest PTX version that such a driver compiles (85: 8.5).
uint32_t newest_ptx(int driver_version);

}  // namespace cuda_on_cpu
