// Plugins on the simulator: opened and captured like anywhere, so that what is wrong with one shows without a GPU.
#include "backend/sim/sim_backend.h"
#include "backend/sim/sim_plugin_gpu.h"

namespace calypte::sim {
namespace {

// Made up, and far apart, so that a plugin that mixes them up is seen.
constexpr uint64_t simulated_address(uint32_t buffer) { return uint64_t{buffer + 1} << 40; }

const calypte_plugin_host kHost = {CALYPTE_PLUGIN_ABI_VERSION, sizeof(calypte_plugin_host), 1, 0, nullptr,
                                   &SimPluginGpu::simulate};

}  // namespace

int32_t SimBackend::plugin(const plugin::Spec &spec) {
  auto loaded = std::make_unique<plugin::LoadedPlugin>(std::make_unique<SimPluginGpu>());
  plugin::Spec placed = spec;
  for (size_t i = 0; i < placed.buffers.size(); ++i)
    placed.buffers[i].address = simulated_address(placed.buffer_ids[i]);
  if (const int32_t code = loaded->load(placed, kHost); code < 0) return code;
  plugins_.push_back(std::move(loaded));
  return static_cast<int32_t>(plugins_.size() - 1);
}

// A run by itself is where a plugin that changed is captured again.
int32_t SimBackend::refresh_plugins(const Work &work) {
  for (const calypte_step &step : work.steps) {
    if (!plugin::is_plugin_kernel(step.kernel)) continue;
    if (const int32_t code = plugins_[plugin::plugin_of(step.kernel)]->refresh(); code < 0) return code;
  }
  return 0;
}

}  // namespace calypte::sim
