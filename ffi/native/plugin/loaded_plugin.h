// A plugin that was loaded for one work: its instance, how it was captured, and its steps. Both backends use it; what
// differs between them is behind PluginGpu.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "calypte.h"
#include "plugin/library.h"
#include "plugin/plugin_gpu.h"

namespace calypte::plugin {

// As a caller asks for it: a decoded calypte_plugin_spec.
struct Spec {
  uint32_t kind = CALYPTE_WORK_BACKGROUND;
  uint32_t capture = CALYPTE_CAPTURE_AUTO;
  uint32_t most_steps = 1;
  std::string path;
  std::string config;
  std::vector<GivenBuffer> buffers;
  std::vector<uint32_t> buffer_ids;  // of the engine, as buffers
};

// Checks everything that can be checked without a device. Returns 0 or a negative code with its text.
int32_t decode_spec(const uint8_t *blob, uint32_t size_bytes, Spec &out);

// Ids of kernels that are steps of plugins: calypte_step.kernel takes them.
inline constexpr uint32_t kKernelBase = 1u << 30;
inline constexpr uint32_t kKernelsEach = 2048;
constexpr uint32_t kernel_id(uint32_t plugin, uint32_t step) { return kKernelBase + plugin * kKernelsEach + step; }
constexpr bool is_plugin_kernel(uint32_t kernel) { return kernel >= kKernelBase && kernel < 2 * kKernelBase; }
constexpr uint32_t plugin_of(uint32_t kernel) { return (kernel - kKernelBase) / kKernelsEach; }
constexpr uint32_t step_of(uint32_t kernel) { return (kernel - kKernelBase) % kKernelsEach; }

class LoadedPlugin {
 public:
  explicit LoadedPlugin(std::unique_ptr<PluginGpu> gpu) : gpu_(std::move(gpu)) {}

  // Opens, tries and captures it. Returns 0 or a negative code with its text. The buffers have their addresses.
  int32_t load(const Spec &spec, const calypte_plugin_host &host);

  void info(calypte_plugin_info &out) const;
  // `id`: the plugin's own. CALYPTE_E_NOT_FOUND: it has fewer steps.
  int32_t step(uint32_t id, uint32_t index, calypte_plugin_step &out) const;
  uint32_t step_count() const { return static_cast<uint32_t>(steps_.size()); }
  uint32_t kind() const { return spec_.kind; }
  const Spec &spec() const { return spec_; }
  // It is called for each request: no graph can hold it.
  bool bracketed() const { return !captured_; }

  // Ahead of a unit's first step, or of a run before `ready`: captures again if the plugin says that it changed. The
  // number of steps stays. Returns 0 or a negative code with its text; nothing has changed then.
  int32_t refresh();
  // How often it was captured: what was built from an older capture is to be built again.
  uint64_t captures() const { return captures_; }
  // Puts a step into the stream; a critical task's captured graph into the capture that the stream is in. Returns the
  // driver's code, or kEnqueueFailed.
  int32_t enqueue(uint32_t step, void *stream);

 private:
  struct Step {
    std::vector<std::shared_ptr<Executable>> nodes;
    RecordedNode longest;
    uint64_t estimate_ns = 0;
  };
  struct Counts {
    uint32_t nodes = 0, kernels = 0, copies = 0, memsets = 0;
  };
  // Why a capture did not come about.
  struct Failure {
    std::string why;
    bool may_be_called = false;  // each time instead
  };

  int32_t try_plain();
  bool record(std::vector<RecordedNode> &nodes, Failure &failure);
  int32_t capture(Failure &failure);
  bool make_steps(const std::vector<RecordedNode> &nodes, bool timed, uint32_t most, std::vector<Step> &out,
                  Failure &failure);
  int32_t bracket(const std::string &why);
  int32_t driver_failed(int32_t code, const char *what) const;

  std::unique_ptr<PluginGpu> gpu_;
  Spec spec_;
  std::string folder_;
  calypte_plugin_host host_{};
  Instance instance_;
  std::vector<Step> steps_;
  std::vector<Step> retired_;  // of the capture before: the last of them may still be running
  Counts counts_;
  bool captured_ = false;
  std::string reason_;  // why it is not captured
  uint64_t generation_ = 0;
  uint64_t captures_ = 0;
};

}  // namespace calypte::plugin
