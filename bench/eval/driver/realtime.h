// What Calypte's engine asks of the system for its critical thread, asked for a baseline's as well: otherwise a
// difference between systems could be one of the host's scheduling.
#pragma once

#include <string>

namespace eval {

// For the calling thread, with the engine's priority and, if $CALYPTE_CRITICAL_CORE names one, on its core. Threads
// that it starts would have them too. Says in words what it got.
std::string run_as_critical();

}  // namespace eval
