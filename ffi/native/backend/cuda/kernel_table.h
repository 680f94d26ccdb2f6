// Which kernel has which id? Those of modules are counted; those of plugins are steps of a captured graph.
#pragma once

#include <string>
#include <vector>

#include "backend/cuda/driver.h"
#include "plugin/loaded_plugin.h"

namespace calypte::cuda {

struct Kernel {
  CUfunction function = nullptr;
  std::string name;
  plugin::LoadedPlugin *plugin = nullptr;  // not null: there is no function
  uint32_t plugin_step = 0;
};

class KernelTable {
 public:
  int32_t add(CUfunction function, const char *name) {
    kernels_.push_back({function, name, nullptr, 0});
    return static_cast<int32_t>(kernels_.size() - 1);
  }
  void add_plugin(plugin::LoadedPlugin &plugin) {
    std::vector<Kernel> &steps = plugins_.emplace_back();
    for (uint32_t i = 0; i < plugin.step_count(); ++i) steps.push_back({nullptr, plugin.spec().path, &plugin, i});
  }
  // Of modules only.
  bool has(int32_t kernel) const { return kernel >= 0 && static_cast<size_t>(kernel) < kernels_.size(); }
  // The id was checked.
  const Kernel &operator[](uint32_t id) const {
    return plugin::is_plugin_kernel(id) ? plugins_[plugin::plugin_of(id)][plugin::step_of(id)] : kernels_[id];
  }

 private:
  std::vector<Kernel> kernels_;
  std::vector<std::vector<Kernel>> plugins_;
};

}  // namespace calypte::cuda
