#include "settings.h"

#include <cstdlib>
#include <iterator>

namespace cuda_on_cpu {
namespace {

void read_number(const char *name, int64_t least, int64_t most, int64_t &value, std::string &wrong) {
  const char *text = getenv(name);
  if (text == nullptr) return;
  char *end = nullptr;
  const long long read = strtoll(text, &end, 10);
  if (*text == '\0' || *end != '\0' || read < least || read > most) {
    wrong += std::string(name) + " is '" + text + "', and must be a number from " + std::to_string(least) + " to " +
             std::to_string(most) + "; ";
    return;
  }
  value = read;
}

Settings read_settings() {
  Settings out;
  const auto number = [&](const char *name, int64_t least, int64_t most, int64_t fallback) {
    read_number(name, least, most, fallback, out.wrong);
    return fallback;
  };
  out.memory_bytes = static_cast<uint64_t>(number("CUDA_ON_CPU_MEMORY_MIB", 1, 1 << 20, 4096)) << 20;
  out.sms = static_cast<int>(number("CUDA_ON_CPU_SMS", 1, 1024, out.sms));
  out.driver_version = static_cast<int>(number("CUDA_ON_CPU_DRIVER_VERSION", 11000, 99990, out.driver_version));
  out.compute_capability = static_cast<int>(number("CUDA_ON_CPU_COMPUTE_CAPABILITY", 50, 999, out.compute_capability));
  out.integrated = number("CUDA_ON_CPU_INTEGRATED", 0, 1, 0) != 0;
  if (const char *log = getenv("CUDA_ON_CPU_LOG")) out.log = log;
  const char *without = getenv("CUDA_ON_CPU_WITHOUT");
  for (std::string rest = without == nullptr ? "" : without; !rest.empty();) {
    const size_t comma = rest.find(',');
    const std::string word = rest.substr(0, comma);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
    if (!word.empty()) out.without.push_back(word);
    if (!word.empty() && word.rfind("cu", 0) != 0 && word != "ipc" && word != "memops" && word != "priorities" &&
        word != "green")
      out.wrong += "CUDA_ON_CPU_WITHOUT: '" + word + "' is neither a symbol nor ipc, memops, priorities or green; ";
  }
  return out;
}

}  // namespace

const Settings &settings() {
  static const Settings *read = new Settings(read_settings());
  return *read;
}

bool left_out(std::string_view name) {
  for (const std::string &word : settings().without) {
    if (word == name) return true;
  }
  return false;
}

uint32_t newest_ptx(int driver_version) {
  // PTX ISA document, release history.
  static const struct {
    int cuda;
    uint32_t ptx;
  } table[] = {{13000, 90}, {12090, 88}, {12080, 87}, {12060, 85}, {12050, 85}, {12040, 84}, {12030, 83},
               {12020, 82}, {12010, 81}, {12000, 80}, {11080, 78}, {11070, 77}, {11060, 76}, {11050, 75},
               {11040, 74}, {11030, 73}, {11020, 72}, {11010, 71}, {11000, 70}};
  for (const auto &row : table) {
    if (driver_version >= row.cuda) return row.ptx;
  }
  return 70;
}

}  // namespace cuda_on_cpu
