// How does a native fault reach the caller? As a negative code and a text kept for the calling thread.
#pragma once

#include <cstdint>
#include <string>

#include "calypte.h"

namespace calypte {

// Sets the thread's last error and returns `code`. printf-style.
[[gnu::format(printf, 2, 3)]] int32_t fail(int32_t code, const char *format, ...);

// Text and code of the thread's last error.
const std::string &last_error();
int32_t last_error_code();

}  // namespace calypte
