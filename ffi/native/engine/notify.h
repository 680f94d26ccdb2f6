// See calypte_notify in calypte.h.
#pragma once

#include <cstdint>

namespace calypte {

int32_t notify(const char *state);

}  // namespace calypte
