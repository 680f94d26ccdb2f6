#include "engine/error.h"

#include <cstdarg>
#include <cstdio>

namespace calypte {
namespace {
thread_local std::string last_error_text;
thread_local int32_t last_code = CALYPTE_OK;
}  // namespace

int32_t fail(int32_t code, const char *format, ...) {
  char text[4096];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  last_error_text = text;
  last_code = code;
  return code;
}

const std::string &last_error() { return last_error_text; }

int32_t last_error_code() { return last_code; }

}  // namespace calypte
