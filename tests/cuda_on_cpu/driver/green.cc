// Green contexts: a part of the SMs, and streams on it. Here a part only says how many blocks run at a time.
#include <algorithm>

#include "calls.h"

namespace cuda_on_cpu::calls {
namespace {

// A description holds a number of SMs, as long as the process lives: there is no call to destroy one.
struct Description {
  unsigned sms = 0;
};

unsigned least_sms() { return settings().compute_capability >= 90 ? 8 : settings().compute_capability >= 80 ? 4 : 2; }
unsigned step_sms() { return settings().compute_capability >= 90 ? 8 : 2; }

std::map<CUdevResourceDesc, Description> &descriptions() {
  static auto *all = new std::map<CUdevResourceDesc, Description>;
  return *all;
}

}  // namespace

CUresult device_get_dev_resource(CUdevice device, CUdevResource *out, CUdevResourceType type) {
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (left_out("green")) return CUDA_ERROR_NOT_SUPPORTED;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (type != CU_DEV_RESOURCE_TYPE_SM) return CUDA_ERROR_INVALID_RESOURCE_TYPE;
  *out = CUdevResource{};
  out->type = type;
  out->sm.smCount = static_cast<unsigned>(settings().sms);
  return CUDA_SUCCESS;
}

CUresult dev_sm_resource_split(CUdevResource *groups, unsigned *count, const CUdevResource *from, CUdevResource *rest,
                               unsigned flags, unsigned wanted) {
  if (count == nullptr || from == nullptr || (groups != nullptr && *count == 0)) return CUDA_ERROR_INVALID_VALUE;
  if (from->type != CU_DEV_RESOURCE_TYPE_SM) return CUDA_ERROR_INVALID_RESOURCE_TYPE;
  if (flags != 0) return CUDA_ERROR_NOT_SUPPORTED;
  const unsigned step = step_sms(), each = std::max(least_sms(), (wanted + step - 1) / step * step);
  if (each > from->sm.smCount) return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
  const unsigned most = from->sm.smCount / each, made = groups == nullptr ? most : std::min(*count, most);
  for (unsigned i = 0; groups != nullptr && i < made; ++i) {
    groups[i] = *from;
    groups[i].sm.smCount = each;
  }
  *count = made;
  if (rest != nullptr) {
    *rest = *from;
    rest->sm.smCount = from->sm.smCount - made * each;
    if (rest->sm.smCount == 0) rest->type = CU_DEV_RESOURCE_TYPE_INVALID;
  }
  return CUDA_SUCCESS;
}

CUresult dev_resource_generate_desc(CUdevResourceDesc *out, CUdevResource *resources, unsigned count) {
  if (out == nullptr || resources == nullptr || count == 0) return CUDA_ERROR_INVALID_VALUE;
  unsigned sms = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (resources[i].type != CU_DEV_RESOURCE_TYPE_SM) return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    sms += resources[i].sm.smCount;
  }
  if (sms == 0 || sms > static_cast<unsigned>(settings().sms)) return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
  *out = reinterpret_cast<CUdevResourceDesc>(0xD0000000 + 16 * (descriptions().size() + 1));
  descriptions()[*out] = {sms};
  return CUDA_SUCCESS;
}

CUresult green_ctx_create(CUgreenCtx *out, CUdevResourceDesc description, CUdevice device, unsigned flags) {
  if (out == nullptr || flags != CU_GREEN_CTX_DEFAULT_STREAM) return CUDA_ERROR_INVALID_VALUE;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  const auto found = descriptions().find(description);
  if (found == descriptions().end()) return CUDA_ERROR_INVALID_VALUE;
  auto green = std::make_shared<GreenContext>();
  green->context = retain_primary();
  green->sms = found->second.sms;
  *out = green->handle = world().greens.add(green);
  return CUDA_SUCCESS;
}

CUresult green_ctx_destroy(CUgreenCtx handle) {
  const auto green = world().greens.find(handle);
  if (green == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  TRY(unsafe_call());
  world().greens.remove(handle);
  release_primary();
  return CUDA_SUCCESS;
}

CUresult green_ctx_stream_create(CUstream *out, CUgreenCtx handle, unsigned flags, int priority) {
  // Required, by its description: the legacy stream of a green context would wait for others.
  if (out == nullptr || flags != CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
  const auto green = world().greens.find(handle);
  if (green == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (green->context->error != CUDA_SUCCESS) return green->context->error;
  *out = make_stream(green->context, flags, priority, static_cast<int>(green->sms), false)->handle;
  return CUDA_SUCCESS;
}

}  // namespace cuda_on_cpu::calls
