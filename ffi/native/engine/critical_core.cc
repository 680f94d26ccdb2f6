#include "engine/critical_core.h"

#include <sched.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace calypte {
namespace {

constexpr char kVariable[] = "CALYPTE_CRITICAL_CORE";

}  // namespace

std::string pin_critical_thread() {
  const char *text = getenv(kVariable);
  if (text == nullptr || text[0] == 0) return "";
  const size_t length = strlen(text);
  const bool number = length <= 4 && strspn(text, "0123456789") == length;
  const unsigned long core = number ? strtoul(text, nullptr, 10) : CPU_SETSIZE;
  if (core >= CPU_SETSIZE) return std::string(", on no core of its own: ") + kVariable + " must be a core's number";
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0)
    return std::string(", on no core of its own: ") + kVariable + "=" + text + ": " + strerror(errno);
  return std::string(", on core ") + text + " only";
}

}  // namespace calypte
