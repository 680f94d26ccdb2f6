// On which core does the critical thread run, if somebody chose one?
#pragma once

#include <string>

namespace calypte {

// Pins the calling thread to the core that CALYPTE_CRITICAL_CORE names, by its number as in /proc/cpuinfo. Returns what
// came of it, to be put behind the words on its priority; empty where the variable is not there or empty. A core that
// is not there, or is kept from this process, leaves the thread where the kernel puts it.
std::string pin_critical_thread();

}  // namespace calypte
