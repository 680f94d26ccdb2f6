#include "backend/cuda/driver.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "engine/error.h"
#include "plugin/plugin_gpu.h"

namespace calypte::cuda {
namespace {

struct Opened {
  Driver driver;
  bool ok = false;
  std::string reason;
};

Opened open_driver() {
  Opened opened;
  // Parked streams take hardware queues: with the default of 8 connections, 8 of them block the critical graph.
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
  // A lazily loaded kernel would be loaded by its first launch, on the critical path.
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    opened.reason = std::string("no CUDA driver: ") + dlerror();
    return opened;
  }
#define CALYPTE_CUDA_FIND(member, symbol, required)                                                 \
  opened.driver.member = reinterpret_cast<decltype(opened.driver.member)>(dlsym(library, #symbol)); \
  if (required && opened.driver.member == nullptr) {                                                \
    opened.reason = "the CUDA driver lacks " #symbol "; CUDA 11.4 or newer is needed";              \
    return opened;                                                                                  \
  }
  CALYPTE_CUDA_CALLS(CALYPTE_CUDA_FIND)
#undef CALYPTE_CUDA_FIND
#define CALYPTE_CUDA_FIND_OLD(arguments, member, symbol) \
  opened.driver.member = reinterpret_cast<decltype(opened.driver.member)>(dlsym(library, symbol));
  CALYPTE_CUDA_OLD_CALLS(CALYPTE_CUDA_FIND_OLD)
#undef CALYPTE_CUDA_FIND_OLD
  const CUresult result = opened.driver.Init(0);
  if (result != CUDA_SUCCESS) {
    const char *name = nullptr;
    opened.driver.GetErrorName(result, &name);
    opened.reason = std::string("cuInit: ") + (name == nullptr ? "unknown error" : name);
    return opened;
  }
  opened.driver.DriverGetVersion(&opened.driver.version);
  opened.ok = true;
  return opened;
}

}  // namespace

const Driver *driver() {
  static const Opened opened = open_driver();
  if (!opened.ok) {
    fail(CALYPTE_E_NO_DEVICE, "%s", opened.reason.c_str());
    return nullptr;
  }
  return &opened.driver;
}

int32_t fail_cuda(CUresult result, const char *call, const char *what) {
  if (static_cast<int32_t>(result) == plugin::kEnqueueFailed) {
    const std::string text = last_error();
    return fail(CALYPTE_E_FAULT, "%s: %s", what, text.c_str());
  }
  const char *name = nullptr;
  driver()->GetErrorName(result, &name);
  // The call's own text up to its arguments says enough.
  const char *bracket = strchr(call, '(');
  const int length = bracket == nullptr ? static_cast<int>(strlen(call)) : static_cast<int>(bracket - call);
  const int32_t code = result == CUDA_ERROR_OUT_OF_MEMORY ? CALYPTE_E_NO_MEMORY : CALYPTE_E_CUDA;
  return fail(code, "%s: %.*s: %s (%d)", what, length, call, name == nullptr ? "unknown error" : name,
              static_cast<int>(result));
}

uint32_t ptx_version_of(int cuda_version) {
  // {CUDA version, PTX ISA version}: PTX ISA document, release history table.
  static const struct {
    int cuda;
    uint32_t ptx;
  } table[] = {{13000, 90}, {12090, 88}, {12080, 87}, {12050, 85}, {12040, 84}, {12030, 83},
               {12020, 82}, {12010, 81}, {12000, 80}, {11080, 78}, {11070, 77}, {11060, 76},
               {11050, 75}, {11040, 74}, {11030, 73}, {11020, 72}, {11010, 71}, {11000, 70}};
  for (const auto &row : table) {
    if (cuda_version >= row.cuda) return row.ptx;
  }
  return 0;
}

}  // namespace calypte::cuda
