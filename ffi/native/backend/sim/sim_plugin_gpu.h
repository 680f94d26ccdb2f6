// What do plugins run on where there is no GPU? A stream that takes down what a plugin says it would enqueue, and fails
// a capture for the same reasons as a driver would. Timing only.
#pragma once

#include "calypte_plugin.h"
#include "plugin/plugin_gpu.h"

namespace calypte::sim {

class SimPluginGpu final : public plugin::PluginGpu {
 public:
  void *stream() override { return this; }
  int32_t settle() override { return 0; }
  int32_t begin_capture() override;
  int32_t end_capture(plugin::RecordedGraph &out) override;
  bool uses_default_stream(int32_t ended, const std::function<int32_t(void *)> &) override {
    return ended != 0 && default_stream_ && !forbidden_;
  }
  int32_t make(const plugin::RecordedNode &node, std::shared_ptr<plugin::Executable> &out) override;
  int32_t time(const std::vector<std::shared_ptr<plugin::Executable>> &nodes,
               std::vector<uint64_t> &durations_ns) override;
  int32_t time_stream(const std::function<int32_t()> &enqueue, uint64_t &duration_ns) override;
  void forget() override {}
  int32_t launch(plugin::Executable &, void *) override { return 0; }
  int32_t append(void *) override { return 0; }

  // What a plugin is given as calypte_plugin_host.simulate.
  static int32_t simulate(void *stream, uint32_t what, const char *name, uint64_t duration_ns);

 private:
  int32_t add(uint32_t what, const char *name, uint64_t duration_ns);

  bool capturing_ = false;
  bool invalid_ = false;  // as a driver's, a capture's end tells no more
  bool forbidden_ = false;
  bool default_stream_ = false;
  // The graph, and the child graphs that are open.
  std::vector<std::shared_ptr<plugin::RecordedGraph>> open_;
  uint64_t enqueued_ns_ = 0;
};

}  // namespace calypte::sim
