// What plugins run on where there is a GPU: a stream to try and capture them in, and graphs of single nodes.
#pragma once

#include <functional>
#include <utility>

#include "backend/cuda/driver.h"
#include "plugin/plugin_gpu.h"

namespace calypte::cuda {

class CudaPluginGpu final : public plugin::PluginGpu {
 public:
  // Of the current context. `make_stream` makes what enqueue is tried and captured in: on the SMs on which its kernels
  // are to run, as each node keeps those, and with the priority of the streams that will launch them.
  // `beside_default`: the default stream waits for it, and it for the default stream.
  CudaPluginGpu(const Driver &cu, std::function<CUresult(CUstream *)> make_stream, bool beside_default)
      : cu_(cu), make_stream_(std::move(make_stream)), beside_default_(beside_default) {}
  ~CudaPluginGpu() override;

  // The stream and the events. Returns the driver's code.
  int32_t open();

  void *stream() override { return stream_; }
  int32_t settle() override;
  int32_t begin_capture() override;
  int32_t end_capture(plugin::RecordedGraph &out) override;
  bool uses_default_stream(int32_t ended, const std::function<int32_t(void *stream)> &enqueue) override;
  int32_t make(const plugin::RecordedNode &node, std::shared_ptr<plugin::Executable> &out) override;
  int32_t time(const std::vector<std::shared_ptr<plugin::Executable>> &nodes,
               std::vector<uint64_t> &durations_ns) override;
  int32_t time_stream(const std::function<int32_t()> &enqueue, uint64_t &duration_ns) override;
  void forget() override;
  int32_t launch(plugin::Executable &node, void *stream) override;
  int32_t append(void *stream) override;

 private:
  int32_t read(CUgraph graph, plugin::RecordedGraph &out) const;
  int32_t read_edges(CUgraph graph, const std::vector<CUgraphNode> &nodes, plugin::RecordedGraph &out) const;
  void describe(CUgraphNode node, plugin::RecordedNode &out) const;
  int32_t elapsed(uint64_t &duration_ns) const;

  const Driver &cu_;
  const std::function<CUresult(CUstream *)> make_stream_;
  const bool beside_default_;
  CUstream stream_ = nullptr;
  CUgraph graph_ = nullptr;
  CUevent begin_ = nullptr;
  CUevent end_ = nullptr;
};

}  // namespace calypte::cuda
