// What the transfer between processes asks of the device's memory.
#pragma once

#include <cstdint>

namespace cuda_on_cpu {

// The allocation that holds this address.
bool find_allocation(uint64_t address, uint64_t *begin, uint64_t *bytes);
int memory_file();
uint64_t offset_in_file(uint64_t address);

}  // namespace cuda_on_cpu
