// Plugins in the CUDA backend.
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/cuda_plugin_gpu.h"
#include "engine/error.h"

namespace calypte::cuda {

int32_t CudaBackend::plugin(const plugin::Spec &spec) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  const bool critical = spec.kind == CALYPTE_WORK_CRITICAL;
  auto gpu = std::make_unique<CudaPluginGpu>(
      *gpu_.cu, [this, critical](CUstream *out) { return gpu_.plugin_stream(critical, out); },
      gpu_.plugin_stream_beside_default(critical));
  if (const int32_t code = gpu->open(); code != CUDA_SUCCESS)
    return fail_cuda(static_cast<CUresult>(code), "GraphGetNodes", "a plugin needs a driver of CUDA 12 or newer");
  auto loaded = std::make_unique<plugin::LoadedPlugin>(std::move(gpu));
  plugin::Spec placed = spec;
  for (size_t i = 0; i < placed.buffers.size(); ++i) placed.buffers[i].address = buffers_[placed.buffer_ids[i]].address;
  calypte_plugin_host host{};
  host.abi_version = CALYPTE_PLUGIN_ABI_VERSION;
  host.size_bytes = sizeof host;
  host.device_index = static_cast<uint32_t>(gpu_.device);
  const int32_t code =
      with_contents_kept("plugin '" + spec.path + "'", spec.buffer_ids, [&] { return loaded->load(placed, host); });
  // A plugin that changed the context that is current would change all that comes behind it.
  if (const int32_t entered = gpu_.enter(); code < 0 || entered < 0) return code < 0 ? code : entered;
  kernels_.add_plugin(*loaded);
  plugins_.push_back(std::move(loaded));
  return static_cast<int32_t>(plugins_.size() - 1);
}

}  // namespace calypte::cuda
