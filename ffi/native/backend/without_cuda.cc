// What answers for the CUDA backend in a build without cuda.h? An error that says so. CMake takes this file or
// backend/cuda.
#include "backend/backend.h"
#include "engine/error.h"

namespace calypte {

namespace {
constexpr const char *kRemedy =
    "this library was built without cuda.h: install the CUDA headers, then run 'make clean build'";
}

std::unique_ptr<Backend> make_cuda_backend(const calypte_options &, const BackendHost &) {
  fail(CALYPTE_E_NO_DEVICE, "open: %s", kRemedy);
  return nullptr;
}

int32_t probe_cuda(uint32_t, calypte_device &) { return fail(CALYPTE_E_NO_DEVICE, "probe: %s", kRemedy); }

}  // namespace calypte
